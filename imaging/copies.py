"""What a picture copies: found by hash whatever the number of pictures, confirmed on pixels."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from imaging.fingerprint import HASHES, Hashes, Thumbnail, crop_hashes, mirrored_hash
from imaging.likeness import SAME, likeness
from imaging.multi_index import MultiIndex, scan

# Bits of 64 within which the hashes of two pictures have to be for their pixels to be compared.
DISTANCE = 10
# Most pictures that a hash leads to and that are then compared; the nearest go first.
_MOST_COMPARED = 32


class CopyIndex:
    """Finds near copies among n known pictures: re-saved, resized, slightly cropped, mirrored.

    A near copy has a perceptual hash within some bits of a known picture's, of its mirror image's
    or of one of its crops', and shows the same detail once crop and mirroring are undone
    (likeness.py). `thumbnail_at` returns a known picture's thumbnail by its row, and is asked for
    the few that a hash leads to.
    """

    def __init__(self, index: MultiIndex, thumbnail_at: Callable[[int], Thumbnail]) -> None:
        self._index, self._thumbnail_at = index, thumbnail_at

    @classmethod
    def build(cls, hashes: Hashes, thumbnail_at: Callable[[int], Thumbnail]) -> "CopyIndex":
        """Indexes the hashes [n, 19] of fingerprints."""
        return cls(MultiIndex.build(hashes.ravel()), thumbnail_at)

    def find(self, thumbnail: Thumbnail, distance: int = DISTANCE) -> int | None:
        """Returns the row of the known picture that this one copies; None if it copies none."""
        return self.find_hashed(both_hashes(thumbnail), lambda: thumbnail, distance)

    def find_hashed(
        self, hashes: Hashes, thumbnail: Callable[[], Thumbnail], distance: int = DISTANCE
    ) -> int | None:
        """The same by `both_hashes`; the thumbnail is asked for if they lead anywhere."""
        rows = self._near(hashes, distance)
        return _first_alike(thumbnail(), rows, self._thumbnail_at) if rows else None

    def near(self, thumbnail: Thumbnail, distance: int = DISTANCE) -> list[int]:
        """Returns the rows that the hashes lead to, nearest first, before pixels are compared."""
        return self._near(both_hashes(thumbnail), distance)

    def _near(self, hashes: Hashes, distance: int) -> list[int]:
        near = self._index.find(hashes, distance)
        return _nearest(near.positions // HASHES, near.distances)


def find_by_scan(
    thumbnail: Thumbnail, hashes: Hashes, thumbnails: Thumbnail, distance: int = DISTANCE
) -> int | None:
    """Returns what `CopyIndex.find` returns, by looking at all of `hashes` [n, 19]."""
    near = scan(hashes.ravel(), both_hashes(thumbnail), distance)
    rows = _nearest(near.positions // HASHES, near.distances)
    return _first_alike(thumbnail, rows, lambda row: thumbnails[row])


def both_hashes(thumbnail: Thumbnail) -> Hashes:
    """Returns the hashes of a picture and of its mirror image, uint64 [2]."""
    return np.array([crop_hashes(thumbnail)[0], mirrored_hash(thumbnail)], np.uint64)


def _nearest(rows: NDArray[np.int64], distances: NDArray[np.uint8]) -> list[int]:
    """Returns rows by their least distance, then by row; each once, and not too many."""
    order = np.lexsort((rows, distances))
    found = dict.fromkeys(rows[order].tolist())
    return list(found)[:_MOST_COMPARED]


def _first_alike(
    thumbnail: Thumbnail, rows: Sequence[int], thumbnail_at: Callable[[int], Thumbnail]
) -> int | None:
    return next((row for row in rows if likeness(thumbnail, thumbnail_at(row)) >= SAME), None)
