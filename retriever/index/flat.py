"""Exact search: every vector is compared."""

from typing import Any, ClassVar

import faiss
import numpy as np

from retriever.index.base import Floats, Neighbours, Rows, exact_search, ranked


class FlatIndex:
    """FAISS inner product over all vectors, which are in memory."""

    def __init__(self, vectors: Floats) -> None:
        self._vectors = np.ascontiguousarray(vectors, np.float32)
        self.count, self.dimension = vectors.shape
        self._index: Any = faiss.IndexFlatIP(self.dimension)
        self._index.add(self._vectors)

    def search(self, queries: Floats, hit_count: int, allowed: Rows | None = None) -> Neighbours:
        if allowed is not None:
            return exact_search(self._vectors, queries, hit_count, allowed)
        queries = np.ascontiguousarray(queries)
        return ranked(
            lambda asked: Neighbours(*self._index.search(queries, asked)), hit_count, self.count
        )


class FlatKind:
    """Needs nothing but the vectors."""

    name: ClassVar[str] = "Flat"
    keeps_vectors: ClassVar[bool] = True

    def check(self) -> None:
        pass

    def build(self, index_id: str, vectors: Floats) -> bytes:
        return b""

    def open(self, index_id: str, vectors: Floats, prepared: bytes) -> FlatIndex:
        return FlatIndex(vectors)
