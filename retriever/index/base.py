"""What every kind of vector index does."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]

# Vectors that an exact search reads at a time, 64 MiB at 512 values each.
_BLOCK = 32_768


@dataclass(frozen=True)
class Neighbours:
    """The nearest vectors of q queries: cosine similarities and row numbers, both [q, k]."""

    similarities: Floats
    rows: Rows


class VectorIndex(Protocol):
    """Unit vectors, searched by cosine similarity. Searching is thread-safe."""

    @property
    def count(self) -> int:
        """Number of vectors."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""

    def search(self, queries: Floats, hit_count: int, allowed: Rows | None = None) -> Neighbours:
        """Returns the nearest of each query [q, d], best first.

        `allowed` are the rows to choose from, ascending; None means all. As many are returned as
        there are, at most `hit_count`. Equal similarities are in order of rows.
        """


class IndexKind(Protocol):
    """One way to search. A kind is told by the name that is stored with an index.

    Vectors are [n, d], of unit length, n at least 1, and may be mapped from a file that is larger
    than memory. A vector's row is its id.
    """

    name: ClassVar[str]
    # Whether `open` needs the vectors again; otherwise they are not kept.
    keeps_vectors: ClassVar[bool]

    def check(self) -> None:
        """Raises Unavailable if what the kind depends on cannot be reached."""

    def build(self, index_id: str, vectors: Floats) -> bytes:
        """Prepares a search, and returns what `open` needs. Equal vectors give equal bytes."""

    def open(self, index_id: str, vectors: Floats, prepared: bytes) -> VectorIndex:
        """Returns the index that `build` prepared."""


def exact_search(
    vectors: Floats, queries: Floats, hit_count: int, allowed: Rows | None = None
) -> Neighbours:
    """Compares every allowed vector, block by block, so that mapped ones pass through memory."""
    rows = np.arange(len(vectors)) if allowed is None else allowed
    wanted = min(hit_count, len(rows))
    best = Neighbours(
        np.zeros((len(queries), 0), np.float32), np.zeros((len(queries), 0), np.int64)
    )
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        whole = allowed is None
        compared = vectors[start : start + _BLOCK] if whole else vectors[block]
        similarities = np.concatenate([best.similarities, queries @ compared.T], axis=1)
        found = np.broadcast_to(block, (len(queries), len(block)))
        best = top(similarities, np.concatenate([best.rows, found], axis=1), wanted)
    return best


def top(similarities: Floats, rows: Rows, wanted: int) -> Neighbours:
    """Returns the best `wanted` of each line of [q, m], ties in order of rows."""
    order = np.lexsort((rows, -similarities), axis=1)[:, :wanted]
    return Neighbours(
        np.clip(np.take_along_axis(similarities, order, 1), -1.0, 1.0),
        np.take_along_axis(rows, order, 1),
    )


def ranked(search: Callable[[int], Neighbours], hit_count: int, available: int) -> Neighbours:
    """Searches, and puts ties in order of rows, also those that the cut-off would split.

    `search` takes a number of hits. Libraries keep any of several equal vectors; asking for more
    until the last differs from the cut-off finds them all.
    """
    wanted = min(hit_count, available)
    asked = min(wanted + 8, available)
    while True:
        found = search(asked)
        last = found.similarities[:, -1]
        split = bool((found.similarities[:, :wanted][:, -1] <= last).any())
        if asked == available or not split:
            return top(found.similarities, found.rows, wanted)
        asked = min(asked * 4, available)
