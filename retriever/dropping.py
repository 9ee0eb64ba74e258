"""Judges the hits of a search: copies of protected images, repeats, unsafe ones."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imaging.copies import find_by_scan
from imaging.fingerprint import SIDE, Thumbnail, crop_hashes
from retriever.images import try_image
from retriever.screening.base import Policy
from retriever.screening.duplicates import find_picture
from retriever.screening.fingerprints import ProtectedSet
from retriever.screening.protected import ProtectedLibrary
from retriever.screening.safety import SafetyCheck
from servicekit.storage import ObjectStore


@dataclass(frozen=True)
class DropPolicy:
    """What is dropped; see Policy for thresholds. None leaves safety unchecked."""

    protected_manifest_uri: str = ""
    max_duplicate_distance: int = Policy.max_duplicate_distance
    repeats: bool = False
    max_unsafe_score: float | None = None


@dataclass(frozen=True)
class Drop:
    """Why an image was dropped; `split` is that of the protected image it copies."""

    reason: str
    split: str = ""


@dataclass(frozen=True)
class Picture:
    """What is kept of an image in an index, for telling copies."""

    image_uri: str
    pixel_sha256: str
    thumbnail: Thumbnail


class Judge:
    """Judges the hits of one query, nearest first, and remembers those that it kept."""

    def __init__(
        self,
        policy: DropPolicy,
        protected: ProtectedSet | None,
        store: ObjectStore,
        safety: SafetyCheck,
    ) -> None:
        self._policy, self._protected = policy, protected
        self._store, self._safety = store, safety
        self._pixels: set[str] = set()
        self._count = 0
        self._hashes = np.zeros((64, 19), np.uint64)
        self._thumbnails = np.zeros((64, SIDE, SIDE), np.uint8)

    async def judge(self, pictures: Sequence[Picture]) -> list[Drop | None]:
        """Returns why each is dropped, in order; None for one that is kept."""
        drops = await asyncio.to_thread(lambda: [self._copy(one) for one in pictures])
        highest = self._policy.max_unsafe_score
        if highest is None:
            return drops
        kept = [row for row, drop in enumerate(drops) if drop is None]
        unsafe = await self._unsafe([pictures[row].image_uri for row in kept], highest)
        for row, drop in zip(kept, unsafe, strict=True):
            drops[row] = drop
        return drops

    def _copy(self, picture: Picture) -> Drop | None:
        distance = self._policy.max_duplicate_distance
        if self._protected is not None:
            found = find_picture(picture.pixel_sha256, picture.thumbnail, self._protected, distance)
            if found is not None:
                return Drop(found[0], found[1].split)
        return self._repeat(picture) if self._policy.repeats else None

    def _repeat(self, picture: Picture) -> Drop | None:
        if picture.pixel_sha256 in self._pixels:
            return Drop("REPEATED")
        hashes, thumbnails = self._hashes[: self._count], self._thumbnails[: self._count]
        distance = self._policy.max_duplicate_distance
        if find_by_scan(picture.thumbnail, hashes, thumbnails, distance) is not None:
            return Drop("REPEATED")
        if self._count == len(self._hashes):
            self._hashes = np.concatenate([self._hashes, np.zeros_like(self._hashes)])
            self._thumbnails = np.concatenate([self._thumbnails, np.zeros_like(self._thumbnails)])
        self._hashes[self._count] = crop_hashes(picture.thumbnail)
        self._thumbnails[self._count] = picture.thumbnail
        self._pixels.add(picture.pixel_sha256)
        self._count += 1
        return None

    async def _unsafe(self, uris: Sequence[str], highest: float) -> list[Drop | None]:
        read = await asyncio.to_thread(lambda: [try_image(self._store, uri) for uri in uris])
        scores = iter(await self._safety.scores([one.image for one in read if one is not None]))
        drops: list[Drop | None] = []
        for one in read:
            if one is None:
                drops.append(Drop("UNREADABLE"))
            else:
                drops.append(Drop("UNSAFE") if next(scores) > highest else None)
        return drops


class Dropper:
    """What judging needs."""

    def __init__(
        self, store: ObjectStore, protected: ProtectedLibrary, safety: SafetyCheck
    ) -> None:
        self._store, self._library, self._safety = store, protected, safety

    async def protected(self, policy: DropPolicy) -> ProtectedSet | None:
        """Returns what must not be copied. Raises what loading the manifest raises."""
        uri = policy.protected_manifest_uri
        return await self._library.load(uri) if uri else None

    def judge(self, policy: DropPolicy, protected: ProtectedSet | None) -> Judge:
        """Returns a judge for one query."""
        return Judge(policy, protected, self._store, self._safety)
