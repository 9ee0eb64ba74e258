"""Approximate search: vectors are grouped into lists, and the nearest lists are compared."""

import math
from typing import Any, ClassVar, Self

import faiss
import numpy as np

from retriever.index.base import Floats, Neighbours, Rows, ranked

# Vectors per list that the clustering is trained on; FAISS asks for 39 to 256.
_TRAINED_PER_LIST = 64
# Share of the lists that a search looks into, and the fewest.
_PROBED_SHARE, _FEWEST_PROBED = 1 / 16, 16


class IvfIndex:
    """FAISS IVF-Flat with inner product.

    The number of lists is 4 sqrt(n); they are clustered on a sample drawn with a fixed seed, so
    equal vectors give an equal index. A search that needs more hits than the probed lists hold
    looks into all of them, so the number of hits is always kept.
    """

    kind: ClassVar[str] = "IVF-Flat"

    def __init__(self, index: Any) -> None:
        self._index = index

    @classmethod
    def build(cls, vectors: Floats) -> Self:
        vectors = np.ascontiguousarray(vectors, np.float32)
        count, dimension = vectors.shape
        lists = max(1, min(round(4 * math.sqrt(count)), count // 39 or 1))
        index = faiss.IndexIVFFlat(
            faiss.IndexFlatIP(dimension), dimension, lists, faiss.METRIC_INNER_PRODUCT
        )
        sample = min(count, lists * _TRAINED_PER_LIST)
        rows = np.sort(np.random.default_rng(0).choice(count, sample, replace=False))
        index.train(vectors[rows])
        index.add(vectors)
        return cls(index)

    @classmethod
    def load(cls, data: bytes) -> Self:
        return cls(faiss.deserialize_index(np.frombuffer(data, np.uint8)))

    def save(self) -> bytes:
        return bytes(faiss.serialize_index(self._index).tobytes())

    @property
    def count(self) -> int:
        return int(self._index.ntotal)

    @property
    def dimension(self) -> int:
        return int(self._index.d)

    def search(self, queries: Floats, hit_count: int) -> Neighbours:
        return ranked(self._search, np.ascontiguousarray(queries), hit_count, self.count)

    def _search(self, queries: Floats, hit_count: int) -> tuple[Floats, Rows]:
        lists = int(self._index.nlist)
        probed = min(lists, max(_FEWEST_PROBED, round(lists * _PROBED_SHARE)))
        similarities, rows = self._probe(queries, hit_count, probed)
        if (rows < 0).any():
            return self._probe(queries, hit_count, lists)
        return similarities, rows

    def _probe(self, queries: Floats, hit_count: int, probed: int) -> tuple[Floats, Rows]:
        # The number of lists goes with the call: setting it on the index is not thread-safe.
        options: Any = faiss.SearchParametersIVF(nprobe=probed)  # type: ignore[call-arg]
        similarities, rows = self._index.search(queries, hit_count, params=options)
        return similarities, rows
