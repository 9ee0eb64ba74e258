"""Multi-index hashing (Norouzi et al., 2012): all 64-bit hashes within some bits, without a scan.

A hash is cut into chunks. Two hashes that differ in few bits differ in still fewer in at least one
chunk, so a lookup visits the neighbours of each chunk in a table and compares in full what it finds
there: the answer is exactly that of a scan.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Arrays = Mapping[str, NDArray[np.generic]]

# Bits of the chunks, lowest first: wider ones have more neighbours, narrower ones fuller buckets.
# At this many hashes the two cost the same.
_NARROW, _WIDE, _MANY = (16, 16, 16, 16), (22, 21, 21), 1_200_000
# From this many hashes on numba's compiler, a second or two, pays; it need not be installed.
_COMPILED = 500_000
# What it costs to visit a neighbour and to compare a hash found there, in hashes scanned.
_VISIT, _COMPARE = 12, 8
# Queries at a time: more gain nothing and fill the processor's caches.
_BLOCK = 4


@dataclass(frozen=True)
class Near:
    """Pairs within a distance: `queries` and `positions` are rows of what was asked and indexed.

    All three are of equal length, sorted by query and then position; no pair is there twice.
    """

    queries: NDArray[np.int64]
    positions: NDArray[np.int64]
    distances: NDArray[np.uint8]


class MultiIndex:
    """An index of n hashes that does not change. Its arrays may be mapped from files."""

    def __init__(self, hashes: Hashes, tables: Sequence["_Table"]) -> None:
        self._hashes, self._tables = hashes, tuple(tables)

    @classmethod
    def build(cls, hashes: Hashes) -> "MultiIndex":
        """Indexes uint64 [n], n < 2**32; positions are rows of it."""
        widths = _WIDE if len(hashes) > _MANY else _NARROW
        shifts = np.cumsum((0, *widths))
        pairs = zip(shifts.tolist(), widths, strict=False)
        return cls(hashes, [_Table.build(hashes, shift, bits) for shift, bits in pairs])

    @classmethod
    def of_arrays(cls, arrays: Arrays) -> "MultiIndex":
        """Returns the index that gave `arrays`. They are used in place, not copied."""
        tables, shift = [], 0
        while f"starts_{shift}" in arrays:
            parts = [arrays[f"{name}_{shift}"] for name in _TABLE_ARRAYS]
            bits = len(parts[0]).bit_length() - 1
            tables.append(_Table(shift, bits, *parts))  # type: ignore[arg-type]
            shift += bits
        return cls(arrays["hashes"], tables)  # type: ignore[arg-type]

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Returns what the index consists of, by name, to be kept in files."""
        named = {
            f"{name}_{table.shift}": getattr(table, name)
            for table in self._tables
            for name in _TABLE_ARRAYS
        }
        return {"hashes": self._hashes, **named}

    def __len__(self) -> int:
        return len(self._hashes)

    def find_all(self, queries: Hashes, distance: int) -> Near:
        """Returns all pairs of a query of uint64 [q] and an indexed hash within `distance` bits."""
        radii = _radii(distance, len(self._tables))
        if self._cost(radii) >= len(self):
            return scan(self._hashes, queries, distance)
        tables = [pair for pair in zip(self._tables, radii, strict=True) if pair[1] >= 0]
        if len(self) >= _COMPILED and find_spec("numba"):
            return merged([table.find_compiled(queries, r, distance) for table, r in tables])
        found = [
            table.find(queries[start : start + _BLOCK], start, radius, distance)
            for start in range(0, len(queries), _BLOCK)
            for table, radius in tables
        ]
        return merged(found)

    def find_one(self, query: int, distance: int) -> NDArray[np.int64]:
        """Returns the positions within `distance` bits of one hash, ascending.

        Where no chunk is looked up with flips, it costs a twentieth of what `find_all` costs.
        """
        radii = _radii(distance, len(self._tables))
        if max(radii) > 0:
            return self.find_all(np.array([query], np.uint64), distance).positions
        found = {
            position
            for table, radius in zip(self._tables, radii, strict=True)
            if radius == 0
            for position in table.find_one(query, distance)
        }
        return np.array(sorted(found), np.int64)

    def _cost(self, radii: Sequence[int]) -> float:
        """Estimates the work of a lookup, in hashes scanned."""
        cost = 0.0
        for table, radius in zip(self._tables, radii, strict=True):
            visits = sum(comb(table.bits, flips) for flips in range(radius + 1))
            cost += visits * (_VISIT + _COMPARE * len(self) / 2**table.bits)
        return cost


@dataclass(frozen=True)
class _Table:
    """The hashes in the order of one chunk; those with chunk c are rows starts[c]:starts[c + 1]."""

    shift: int
    bits: int
    starts: NDArray[np.uint32]
    sorted: Hashes
    positions: NDArray[np.uint32]

    @classmethod
    def build(cls, hashes: Hashes, shift: int, bits: int) -> "_Table":
        chunks = _chunk(hashes, shift, bits)
        starts = np.zeros(2**bits + 1, np.uint32)
        np.cumsum(np.bincount(chunks, minlength=2**bits), out=starts[1:])
        narrow = chunks.astype(np.uint16 if bits <= 16 else np.uint32)  # sorts several times faster
        order = np.argsort(narrow, kind="stable").astype(np.uint32)
        return cls(shift, bits, starts, hashes[order], order)

    def find(self, queries: Hashes, first: int, radius: int, distance: int) -> Near:
        """Returns what is within `distance` and has a chunk within `radius`.

        `first` is the number of the first query.
        """
        masks = _masks(self.bits, radius)
        keys = (_chunk(queries, self.shift, self.bits)[:, None] ^ masks).ravel()
        starts = self.starts.take(keys)
        counts = self.starts.take(keys + 1) - starts
        ends = np.cumsum(counts, dtype=np.int64)
        # The rows of all buckets one after the other, without a loop over buckets.
        rows = np.repeat(starts + counts - ends, counts)
        rows += np.arange(len(rows))
        asked = np.repeat(
            np.arange(len(queries)), np.diff(ends[len(masks) - 1 :: len(masks)], prepend=0)
        )
        bits = np.bitwise_count(self.sorted.take(rows) ^ queries.take(asked))
        hits = np.flatnonzero(bits <= distance)
        positions = self.positions.take(rows[hits]).astype(np.int64)
        return Near(asked[hits] + first, positions, bits[hits])

    def find_one(self, query: int, distance: int) -> list[int]:
        """Returns what is within `distance` and has the very chunk of one hash."""
        chunk = query >> self.shift & (1 << self.bits) - 1
        start, end = self.starts[chunk : chunk + 2].tolist()
        if start == end:
            return []
        near = np.bitwise_count(self.sorted[start:end] ^ np.uint64(query)) <= distance
        return self.positions[start:end][near].tolist()

    def find_compiled(self, queries: Hashes, radius: int, distance: int) -> Near:
        """Returns what `find` returns, of queries that are numbered from 0, in half the time."""
        from imaging.compiled import look_up

        masks = _masks(self.bits, radius)
        arrays = (np.asarray(self.starts), np.asarray(self.sorted), np.asarray(self.positions))
        return Near(*look_up(*arrays, (self.shift, self.bits), masks, queries, distance))


_TABLE_ARRAYS = ("starts", "sorted", "positions")


def scan(hashes: Hashes, queries: Hashes, distance: int) -> Near:
    """Returns what `MultiIndex.find_all` returns, by looking at every hash of uint64 [n]."""
    found = [_none()]
    for number, query in enumerate(queries):
        bits = np.bitwise_count(hashes ^ query)
        hits = np.flatnonzero(bits <= distance)
        found.append(Near(np.full(len(hits), number), hits, bits[hits]))
    return _joined(found)


def merged(found: Sequence[Near]) -> Near:
    """Returns all pairs of several answers, each once, in order."""
    pairs = _joined([_none(), *found])
    order = np.lexsort((pairs.positions, pairs.queries))
    queries, positions = pairs.queries[order], pairs.positions[order]
    fresh = np.ones(len(order), bool)
    fresh[1:] = (np.diff(queries) != 0) | (np.diff(positions) != 0)
    return Near(queries[fresh], positions[fresh], pairs.distances[order][fresh])


def _joined(found: Sequence[Near]) -> Near:
    names = ("queries", "positions", "distances")
    return Near(*(np.concatenate([getattr(one, name) for one in found]) for name in names))


def _none() -> Near:
    return Near(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.uint8))


def _chunk(hashes: Hashes, shift: int, bits: int) -> NDArray[np.int64]:
    return ((hashes >> np.uint64(shift)) & np.uint64(2**bits - 1)).astype(np.int64)


def _radii(distance: int, chunks: int) -> list[int]:
    """Returns the flips to look through in each chunk; -1 for none, the last get the most.

    Where every chunk differs in more bits than its radius, the sum is at least
    sum(radius + 1) = distance + 1: what is within `distance` is found in some chunk.
    """
    least, more = divmod(distance + 1, chunks)
    return [least - 1 + (number >= chunks - more) for number in range(chunks)]


@lru_cache(maxsize=32)
def _masks(bits: int, radius: int) -> NDArray[np.int64]:
    """Returns all patterns of at most `radius` of `bits` bits, sorted: near ones lie together."""
    patterns = [
        sum(1 << bit for bit in chosen)
        for flips in range(radius + 1)
        for chosen in combinations(range(bits), flips)
    ]
    return np.array(sorted(patterns), np.int64)
