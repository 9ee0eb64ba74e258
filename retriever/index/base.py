"""What every kind of vector index does."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Neighbours:
    """The nearest vectors of q queries: cosine similarities and row numbers, both [q, k]."""

    similarities: Floats
    rows: Rows


class VectorIndex(Protocol):
    """Unit vectors, searched by cosine similarity. Searching is thread-safe."""

    # Name of the kind, as stored with the index.
    kind: ClassVar[str]

    @classmethod
    def build(cls, vectors: Floats) -> Self:
        """Builds an index of unit vectors [n, d], n at least 1; a vector's row is its id."""

    @classmethod
    def load(cls, data: bytes) -> Self:
        """Returns the index that `save` wrote."""

    def save(self) -> bytes:
        """Returns the index as bytes; equal vectors give equal bytes."""

    @property
    def count(self) -> int:
        """Number of vectors."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""

    def search(self, queries: Floats, hit_count: int) -> Neighbours:
        """Returns the min(hit_count, count) nearest of each query [q, d], best first.

        Equal similarities are in order of rows.
        """


def ranked(
    search: Callable[[Floats, int], tuple[Floats, Rows]],
    queries: Floats,
    hit_count: int,
    count: int,
) -> Neighbours:
    """Searches, and puts ties in order of rows, also those that the cut-off would split.

    Libraries keep any of several equal vectors; asking for more until the last differs from the
    cut-off finds them all.
    """
    wanted = min(hit_count, count)
    asked = min(wanted + 8, count)
    while True:
        similarities, rows = search(queries, asked)
        split = bool((similarities[:, wanted - 1] <= similarities[:, -1]).any())
        if asked == count or not split:
            break
        asked = min(asked * 4, count)
    order = np.lexsort((rows, -similarities), axis=1)[:, :wanted]
    return Neighbours(
        np.clip(np.take_along_axis(similarities, order, 1), -1.0, 1.0),
        np.take_along_axis(rows, order, 1),
    )
