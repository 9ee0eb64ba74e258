"""What a picture copies: found by hash whatever the number of pictures, confirmed on pixels."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from imaging.fingerprint import HASHES, SIDE, Hashes, Thumbnail, both_hashes, crop_hashes
from imaging.likeness import SAME, likeness
from imaging.likeness_bound import SIZES, Lengths, Templates, least_lengths, most_alike, templates
from imaging.multi_index import MultiIndex, Near, scan
from imaging.near import NearIndex

# Bits of 64 within which the hashes of two pictures have to be for their pixels to be compared.
DISTANCE = 10
# Most pictures that a hash leads to and that are then compared; the nearest go first.
_MOST_COMPARED = 32
# Bits within which a copy is looked for at first: that costs a tenth of the whole look-up.
_CLOSE = 5
# How far below SAME a bound has to be: rounding is 1e-5.
_MARGIN = 0.002
# Candidates whose templates are made at once: 0.75 MB each.
_BLOCK = 16


class HashIndex(Protocol):
    """Finds hashes by their rows."""

    def find_all(self, queries: Hashes, distance: int) -> Near:
        """Returns all pairs within `distance` bits."""
        ...


class CopyIndex:
    """Finds near copies among n known pictures: re-saved, resized, slightly cropped, mirrored.

    A near copy has a perceptual hash within some bits of a known picture's, of its mirror image's
    or of one of its crops', and shows the same detail once crop and mirroring are undone
    (likeness.py). `index` has 19 hashes for each of `thumbnails` [n, 32, 32], and `lengths`
    [n, 6] are their least lengths. All may be mapped from files: few rows are looked at.
    """

    def __init__(self, index: HashIndex, thumbnails: Thumbnail, lengths: Lengths) -> None:
        self._index, self._thumbnails, self._lengths = index, thumbnails, lengths

    @classmethod
    def build(cls, hashes: Hashes, thumbnails: Thumbnail) -> "CopyIndex":
        """Indexes fingerprints by their hashes [n, 19]."""
        return cls(MultiIndex.build(hashes.ravel()), thumbnails, least_lengths(thumbnails))

    def find(self, thumbnail: Thumbnail, distance: int = DISTANCE) -> int | None:
        """Returns the row of the known picture that this one copies; None if it copies none."""
        return self.find_all(thumbnail[None], distance)[0]

    def find_all(self, thumbnails: Thumbnail, distance: int = DISTANCE) -> list[int | None]:
        """Returns that row for each of [m, 32, 32]; many at once cost less than one by one."""
        found: list[int | None] = []
        for start in range(0, len(thumbnails), _BLOCK):
            found += self._find_block(thumbnails[start : start + _BLOCK], distance)
        return found

    def _find_block(self, thumbnails: Thumbnail, distance: int) -> list[int | None]:
        hashes = both_hashes(thumbnails)
        found = self._find_close(thumbnails, hashes, distance)
        rest = [number for number, row in enumerate(found) if row is None]
        near = self._index.find_all(hashes[rest].ravel(), distance)
        led = [
            (n, rows) for n, rows in zip(rest, _nearest(near, len(rest)), strict=True) if len(rows)
        ]
        made = templates(thumbnails[[number for number, _ in led]])
        for (number, rows), template in zip(led, made, strict=True):
            found[number] = self._first_copied(thumbnails[number], template, rows)
        return found

    def _find_close(self, thumbnails: Thumbnail, hashes: Hashes, distance: int) -> list[int | None]:
        """Finds copies among what is nearest, which is where most have theirs.

        All within that distance is looked at, so the first one is the first one of all.
        """
        near = self._index.find_all(hashes.ravel(), min(distance, _CLOSE))
        return [
            int(rows[0]) if len(rows) and likeness(one, self._thumbnails[rows[0]]) >= SAME else None
            for one, rows in zip(thumbnails, _nearest(near, len(thumbnails)), strict=True)
        ]

    def _first_copied(
        self, thumbnail: Thumbnail, template: Templates, rows: NDArray[np.int64]
    ) -> int | None:
        """Returns the first of `rows` that is copied; bounds spare most of the comparisons."""
        known = self._thumbnails[rows]
        bounds = most_alike(template, known, self._lengths[rows])
        likely = np.flatnonzero(bounds >= SAME - _MARGIN)
        return next((int(rows[n]) for n in likely if likeness(thumbnail, known[n]) >= SAME), None)


class GrowingCopyIndex:
    """A CopyIndex of pictures that are added one after the other. Not thread-safe."""

    def __init__(self) -> None:
        self._index = NearIndex()
        self._thumbnails = np.zeros((64, SIDE, SIDE), np.uint8)
        self._lengths = np.zeros((64, SIZES), np.float32)
        self._count = 0

    def add(self, thumbnail: Thumbnail) -> int:
        """Adds a picture [32, 32] and returns its row: 0 for the first, then 1 and so on."""
        if self._count == len(self._thumbnails):
            self._thumbnails = np.concatenate([self._thumbnails, np.zeros_like(self._thumbnails)])
            self._lengths = np.concatenate([self._lengths, np.zeros_like(self._lengths)])
        self._thumbnails[self._count] = thumbnail
        self._lengths[self._count] = least_lengths(thumbnail[None])[0]
        for value in crop_hashes(thumbnail):
            self._index.add(int(value))
        self._count += 1
        return self._count - 1

    def find(self, thumbnail: Thumbnail, distance: int = DISTANCE) -> int | None:
        """Returns the row of the picture that this one copies; None if it copies none."""
        known = CopyIndex(self._index, self._thumbnails, self._lengths)
        return known.find(thumbnail, distance)


def find_by_scan(
    thumbnail: Thumbnail, hashes: Hashes, thumbnails: Thumbnail, distance: int = DISTANCE
) -> int | None:
    """Returns what `CopyIndex.find` returns, by looking at all of `hashes` [n, 19]."""
    near = scan(hashes.ravel(), both_hashes(thumbnail[None]).ravel(), distance)
    rows: Sequence[int] = _nearest(near, 1)[0].tolist()
    return next((row for row in rows if likeness(thumbnail, thumbnails[row]) >= SAME), None)


def _nearest(near: Near, count: int) -> list[NDArray[np.int64]]:
    """Returns, for each candidate, rows by their least distance, then by row.

    Hashes belong to pictures, HASHES to each, and queries to candidates, two to each. Each row is
    there once, and there are not too many.
    """
    candidates, rows = near.queries // 2, near.positions // HASHES
    order = np.lexsort((rows, near.distances, candidates))
    rows, ends = rows[order], np.searchsorted(candidates[order], np.arange(count + 1))
    return [_first_of_each(rows[ends[n] : ends[n + 1]])[:_MOST_COMPARED] for n in range(count)]


def _first_of_each(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    return rows[np.sort(np.unique(rows, return_index=True)[1])]
