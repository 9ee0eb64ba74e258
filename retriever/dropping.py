"""Judges the hits of a search: copies of protected images, repeats, unsafe ones."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imaging.copies import GrowingCopyIndex
from imaging.fingerprint import Thumbnail
from retriever.images import try_image
from retriever.screening.base import Policy
from retriever.screening.duplicates import find_copies
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
        self._kept = GrowingCopyIndex()

    async def judge(self, pictures: Sequence[Picture]) -> list[Drop | None]:
        """Returns why each is dropped, in order; None for one that is kept."""
        drops = await asyncio.to_thread(self._copies, pictures)
        highest = self._policy.max_unsafe_score
        if highest is None:
            return drops
        kept = [row for row, drop in enumerate(drops) if drop is None]
        unsafe = await self._unsafe([pictures[row].image_uri for row in kept], highest)
        for row, drop in zip(kept, unsafe, strict=True):
            drops[row] = drop
        return drops

    def _copies(self, pictures: Sequence[Picture]) -> list[Drop | None]:
        drops: list[Drop | None] = [None] * len(pictures)
        if self._protected is not None and pictures:
            thumbnails = np.stack([picture.thumbnail for picture in pictures])
            pixels = [picture.pixel_sha256 for picture in pictures]
            distance = self._policy.max_duplicate_distance
            found = find_copies(pixels, thumbnails, self._protected, distance)
            drops = [Drop(copy.kind, copy.of.split) if copy else None for copy in found]
        if self._policy.repeats:
            pairs = zip(pictures, drops, strict=True)
            drops = [drop or self._repeat(picture) for picture, drop in pairs]
        return drops

    def _repeat(self, picture: Picture) -> Drop | None:
        if picture.pixel_sha256 in self._pixels:
            return Drop("REPEATED")
        distance = self._policy.max_duplicate_distance
        if self._kept.find(picture.thumbnail, distance) is not None:
            return Drop("REPEATED")
        self._kept.add(picture.thumbnail)
        self._pixels.add(picture.pixel_sha256)
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
