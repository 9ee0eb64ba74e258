"""Copies of protected images: exact by their pixels, near ones by hash and then by picture."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from imaging.fingerprint import Thumbnail, thumbnail_of
from retriever.screening.base import Finding, Policy, Subject
from retriever.screening.fingerprints import ProtectedImage, ProtectedSet
from retriever.screening.protected import ProtectedLibrary
from servicekit.together import together

# Pictures that are looked for by one thread: their hashes and products share what they cost.
_TOGETHER = 16

Kind = Literal["EXACT_DUPLICATE", "NEAR_DUPLICATE"]


@dataclass(frozen=True)
class Copy:
    """How a picture copies which protected one."""

    kind: Kind
    of: ProtectedImage


class DuplicateCheck:
    """Rejects copies of the images of the policy's manifest, whatever their split.

    An exact copy has the same pixels in the same size. A near copy has a perceptual hash within
    `max_duplicate_distance` bits of the protected image's, of its mirror image's or of one of its
    crops', and shows the same detail once crop and mirroring are undone (imaging.copies).
    """

    def __init__(self, library: ProtectedLibrary) -> None:
        self._library = library

    async def judge(self, subjects: Sequence[Subject], policy: Policy) -> list[Finding]:
        if not policy.protected_manifest_uri or not subjects:
            return [Finding()] * len(subjects)
        protected = await self._library.load(policy.protected_manifest_uri)
        distance = policy.max_duplicate_distance
        found = await together(
            asyncio.to_thread(_find, some, protected, distance)
            for some in (subjects[n : n + _TOGETHER] for n in range(0, len(subjects), _TOGETHER))
        )
        return [_finding(copy) for block in found for copy in block]


def find_copies(
    pixels: Sequence[str], thumbnails: Thumbnail, protected: ProtectedSet, distance: int
) -> list[Copy | None]:
    """Returns how each picture copies which protected one; None if none.

    Pictures are given by their `pixel_sha256` and by thumbnails [n, 32, 32], in the same order.
    """
    exact = [protected.exact(sha256) for sha256 in pixels]
    others = [number for number, row in enumerate(exact) if row is None]
    near = dict(zip(others, protected.copies.find_all(thumbnails[others], distance), strict=True))
    return [
        _copy("EXACT_DUPLICATE", row, protected)
        if row is not None
        else _copy("NEAR_DUPLICATE", near[number], protected)
        for number, row in enumerate(exact)
    ]


def _find(subjects: Sequence[Subject], protected: ProtectedSet, distance: int) -> list[Copy | None]:
    thumbnails = np.stack([thumbnail_of(subject.image) for subject in subjects])
    pixels = [subject.pixel_sha256 for subject in subjects]
    return find_copies(pixels, thumbnails, protected, distance)


def _copy(kind: Kind, row: int | None, protected: ProtectedSet) -> Copy | None:
    return None if row is None else Copy(kind, protected.image(row))


def _finding(copy: Copy | None) -> Finding:
    if copy is None:
        return Finding()
    return Finding(
        reasons=(copy.kind,),
        duplicate_of_uri=copy.of.image_uri,
        duplicate_of_split=copy.of.split,
    )
