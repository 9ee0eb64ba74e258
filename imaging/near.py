"""An index of perceptual hashes that grows: what is near a hash, whatever the number of hashes.

index = NearIndex()
index.add(perceptual_hash(first))            # 0
index.find(perceptual_hash(second), 2)       # positions within 2 bits, ascending
"""

import numpy as np
from numpy.typing import NDArray

from imaging.multi_index import Hashes, MultiIndex, Near, merged, scan

# So many of the newest hashes are scanned; then they are indexed.
_SCANNED = 8192


class NearIndex:
    """Hashes of 64 bits by position, in the order in which they were added. Not thread-safe.

    The newest hashes are scanned. Older ones lie in indexes of doubling sizes, so that adding costs
    O(log n) in the mean and a lookup visits O(log n) indexes. Takes 8 bytes a hash, and 64 once it
    is indexed.
    """

    def __init__(self) -> None:
        self._hashes = np.zeros(64, np.uint64)
        self._count = 0
        # Indexes of neighbouring stretches, the oldest and largest first, and where each starts.
        self._indexes: list[tuple[int, MultiIndex]] = []
        self._indexed = 0

    def __len__(self) -> int:
        return self._count

    def add(self, value: int) -> int:
        """Adds a hash and returns its position: 0 for the first, then 1 and so on."""
        if self._count == len(self._hashes):
            self._hashes = np.concatenate([self._hashes, np.zeros_like(self._hashes)])
        self._hashes[self._count] = value
        self._count += 1
        if self._count - self._indexed == _SCANNED:
            self._index()
        return self._count - 1

    def add_all(self, values: Hashes) -> None:
        """Adds uint64 [n], as `add` does one after the other."""
        room = len(self._hashes)
        while room < self._count + len(values):
            room *= 2
        if room > len(self._hashes):
            self._hashes = np.concatenate(
                [self._hashes, np.zeros(room - len(self._hashes), np.uint64)]
            )
        while len(values):
            some = values[: _SCANNED - (self._count - self._indexed)]
            self._hashes[self._count : self._count + len(some)] = some
            self._count += len(some)
            if self._count - self._indexed == _SCANNED:
                self._index()
            values = values[len(some) :]

    def find(self, value: int, distance: int) -> NDArray[np.int64]:
        """Returns the positions of the hashes within `distance` bits, 0 to 64, ascending."""
        parts = [start + index.find_one(value, distance) for start, index in self._indexes]
        hits = np.flatnonzero(np.bitwise_count(self._newest() ^ np.uint64(value)) <= distance)
        return np.concatenate([*parts, self._indexed + hits])

    def find_all(self, values: Hashes, distance: int) -> Near:
        """Returns what is within `distance` bits of each of uint64 [q], with its distance."""
        parts = [(self._indexed, scan(self._newest(), values, distance))]
        parts += [(start, index.find_all(values, distance)) for start, index in self._indexes]
        return merged(
            [Near(near.queries, near.positions + start, near.distances) for start, near in parts]
        )

    def _newest(self) -> Hashes:
        return self._hashes[self._indexed : self._count]

    def _index(self) -> None:
        """Indexes what was scanned so far, together with older indexes that are no larger."""
        start = self._indexed
        while self._indexes and len(self._indexes[-1][1]) <= self._count - start:
            start, _ = self._indexes.pop()
        # A copy: the array is replaced as it grows, and would stay alive behind a view.
        self._indexes.append((start, MultiIndex.build(self._hashes[start : self._count].copy())))
        self._indexed = self._count
