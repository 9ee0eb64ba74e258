"""Exact search: every vector is compared."""

from typing import Any, ClassVar, Self

import faiss
import numpy as np

from retriever.index.base import Floats, Neighbours, Rows, ranked


class FlatIndex:
    """FAISS inner product over all vectors."""

    kind: ClassVar[str] = "Flat"

    def __init__(self, index: Any) -> None:
        self._index = index

    @classmethod
    def build(cls, vectors: Floats) -> Self:
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(np.ascontiguousarray(vectors, np.float32))
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
        similarities, rows = self._index.search(queries, hit_count)
        return similarities, rows
