"""Copies of protected images: exact by their pixels, near ones by hash and then by picture."""

import asyncio
from collections.abc import Sequence
from typing import Literal

from imaging.fingerprint import Thumbnail, thumbnail_of
from retriever.screening.base import Finding, Policy, Subject
from retriever.screening.fingerprints import ProtectedImage, ProtectedSet
from retriever.screening.protected import ProtectedLibrary

Kind = Literal["EXACT_DUPLICATE", "NEAR_DUPLICATE"]


class DuplicateCheck:
    """Rejects copies of the images of the policy's manifest, whatever their split.

    An exact copy has the same pixels in the same size. A near copy has a perceptual hash within
    `max_duplicate_distance` bits of the protected image's, of its mirror image's or of one of its
    crops', and shows the same detail once crop and mirroring are undone (imaging.copies).
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
    row = protected.exact(pixel_sha256)
    if row is not None:
        return "EXACT_DUPLICATE", protected.image(row)
    near = protected.copies.find(thumbnail, distance)
    return None if near is None else ("NEAR_DUPLICATE", protected.image(near))


def _judge(subject: Subject, protected: ProtectedSet, distance: int) -> Finding:
    found = find_copy(subject, protected, distance)
    if found is None:
        return Finding()
    reason, image = found
    return Finding(
        reasons=(reason,), duplicate_of_uri=image.image_uri, duplicate_of_split=image.split
    )
