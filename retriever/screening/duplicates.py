"""Copies of protected images: exact by their pixels, near ones by hash and then by picture."""

import asyncio
from collections.abc import Sequence
from typing import Literal

import numpy as np

from retriever.screening.alignment import SAME, likeness
from retriever.screening.base import Finding, Policy, Subject
from retriever.screening.fingerprint import (
    Hashes,
    Thumbnail,
    crop_hashes,
    mirrored_hash,
    thumbnail_of,
)
from retriever.screening.protected import ProtectedImage, ProtectedLibrary, ProtectedSet

# Most images that a candidate's hash leads to and that are then compared; the nearest go first.
_MOST_COMPARED = 32

Kind = Literal["EXACT_DUPLICATE", "NEAR_DUPLICATE"]


class DuplicateCheck:
    """Rejects copies of the images of the policy's manifest, whatever their split.

    An exact copy has the same pixels in the same size. A near copy has a perceptual hash within
    `max_duplicate_distance` bits of the protected image's, of its mirror image's or of one of its
    crops', and shows the same detail once crop and mirroring are undone (alignment.py).
    """

    def __init__(self, library: ProtectedLibrary) -> None:
        self._library = library

    async def judge(self, subjects: Sequence[Subject], policy: Policy) -> list[Finding]:
        if not policy.protected_manifest_uri:
            return [Finding()] * len(subjects)
        protected = await self._library.load(policy.protected_manifest_uri)
        distance = policy.max_duplicate_distance
        return await asyncio.to_thread(
            lambda: [_judge(subject, protected, distance) for subject in subjects]
        )


def find_copy(
    subject: Subject, protected: ProtectedSet, distance: int
) -> tuple[Kind, ProtectedImage] | None:
    """Returns what the subject copies, and how; None if nothing."""
    return find_picture(subject.pixel_sha256, thumbnail_of(subject.image), protected, distance)


def find_picture(
    pixel_sha256: str, thumbnail: Thumbnail, protected: ProtectedSet, distance: int
) -> tuple[Kind, ProtectedImage] | None:
    """Returns what the picture of a thumbnail copies, and how; None if nothing."""
    row = protected.by_pixels.get(pixel_sha256)
    if row is not None:
        return "EXACT_DUPLICATE", protected.image(row)
    near = find_near(thumbnail, protected.hashes, protected.thumbnails, distance)
    return None if near is None else ("NEAR_DUPLICATE", protected.image(near))


def find_near(
    thumbnail: Thumbnail, hashes: Hashes, thumbnails: Thumbnail, distance: int
) -> int | None:
    """Returns the row of `hashes` [n, 19] and `thumbnails` [n, 32, 32] that this one copies."""
    own = (int(crop_hashes(thumbnail)[0]), mirrored_hash(thumbnail))
    for row in _near(hashes, own, distance):
        if likeness(thumbnail, thumbnails[row]) >= SAME:
            return row
    return None


def _judge(subject: Subject, protected: ProtectedSet, distance: int) -> Finding:
    found = find_copy(subject, protected, distance)
    if found is None:
        return Finding()
    reason, image = found
    return Finding(
        reasons=(reason,), duplicate_of_uri=image.image_uri, duplicate_of_split=image.split
    )


def _near(known: Hashes, hashes: Sequence[int], distance: int) -> list[int]:
    """Returns the rows of `known` [n, 19] within `distance` bits of a hash, nearest first."""
    if len(known) == 0:
        return []
    bits = [np.bitwise_count(known ^ np.uint64(one)).min(axis=1) for one in hashes]
    distances = np.minimum(*bits)
    rows = np.flatnonzero(distances <= distance)
    nearest = rows[np.argsort(distances[rows], kind="stable")]
    return [int(row) for row in nearest[:_MOST_COMPARED]]
