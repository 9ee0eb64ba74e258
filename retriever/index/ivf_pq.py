"""Approximate search: short codes in memory choose candidates, vectors on disk rank them."""

import math
from typing import Any, ClassVar

import faiss
import numpy as np

from retriever.index.base import Floats, Neighbours, Rows, exact_search, ranked, top

# Chosen on 1,000,000 x 512 clustered vectors (benchmarks/retriever_scale.py). A query is bound by
# the bytes it reads: all centres, the codes of the probed lists and the candidates' vectors, there
# 2 + 8 + 1.5 MB. With whole vectors in the lists (IVF-Flat) it is 130 MB and six times the time.
PROBED = 64
CANDIDATES_PER_HIT, _FEWEST_CANDIDATES = 4, 256
# Vectors per list that the clustering is trained on, and the fewest that codes can be trained on.
_TRAINED_PER_LIST, _FEWEST_TRAINED = 64, 16
_BITS = 4
# Vectors that are encoded at a time.
_BLOCK = 65_536
# Where at most this share of the pool may be chosen or is wanted, comparing all of it is quicker.
_EXACT_SHARE = 1 / 50


class IvfPqIndex:
    """Product-quantised codes in inverted lists; candidates are ranked by their own vectors.

    Similarities are exact. A search that the probed lists cannot fill compares all vectors, so the
    number of hits is always kept.
    """

    def __init__(self, codes: Any, vectors: Floats) -> None:
        self._codes, self._vectors = codes, vectors
        self.count, self.dimension = vectors.shape

    def search(self, queries: Floats, hit_count: int, allowed: Rows | None = None) -> Neighbours:
        available = self.count if allowed is None else len(allowed)
        few = allowed is not None and available <= self.count * _EXACT_SHARE
        if few or _candidate_count(hit_count) >= available:
            return exact_search(self._vectors, queries, hit_count, allowed)
        options = self._options(allowed)

        def search(asked: int) -> Neighbours:
            found = self._candidates(queries, _candidate_count(asked), options)
            if found is None:
                return exact_search(self._vectors, queries, asked, allowed)
            lines = [
                self._rank(query, rows, asked) for query, rows in zip(queries, found, strict=True)
            ]
            return Neighbours(
                np.concatenate([line.similarities for line in lines]),
                np.concatenate([line.rows for line in lines]),
            )

        return ranked(search, hit_count, available)

    def _options(self, allowed: Rows | None) -> Any:
        # The number of lists goes with the call: setting it on the index is not thread-safe.
        if allowed is None:
            return faiss.SearchParametersIVF(nprobe=PROBED)  # type: ignore[call-arg]
        mask = np.zeros(self.count, bool)
        mask[allowed] = True
        bits: Any = np.packbits(mask, bitorder="little")
        chosen = faiss.IDSelectorBitmap(bits)  # type: ignore[call-arg]
        return faiss.SearchParametersIVF(nprobe=PROBED, sel=chosen)  # type: ignore[call-arg]

    def _candidates(self, queries: Floats, count: int, options: Any) -> Rows | None:
        """Returns rows [q, count], or None if the lists of a query hold too few."""
        _, rows = self._codes.search(np.ascontiguousarray(queries), count, params=options)
        return None if (rows < 0).any() else rows

    def _rank(self, query: Floats, rows: Rows, wanted: int) -> Neighbours:
        # In order of the file: neighbours on disk are read together.
        rows = np.sort(rows)
        return top((self._vectors[rows] @ query)[None], rows[None], wanted)


def _candidate_count(hit_count: int) -> int:
    return max(hit_count * CANDIDATES_PER_HIT, _FEWEST_CANDIDATES)


class IvfPqKind:
    """Keeps d / 4 bytes a vector in memory; the vectors are mapped from their file.

    Lists and codes are trained on a sample drawn with a fixed seed, so equal vectors give an equal
    index.
    """

    name: ClassVar[str] = "IVF-PQ"
    keeps_vectors: ClassVar[bool] = True

    def check(self) -> None:
        pass

    def build(self, index_id: str, vectors: Floats) -> bytes:
        count, dimension = vectors.shape
        lists = max(1, min(round(math.sqrt(count)), count // 39))
        index = faiss.IndexIVFPQFastScan(
            faiss.IndexFlatIP(dimension),
            dimension,
            lists,
            dimension // 2 if dimension % 2 == 0 else dimension,
            _BITS,
            faiss.METRIC_INNER_PRODUCT,
        )
        sample = min(count, lists * _TRAINED_PER_LIST)
        rows = np.sort(np.random.default_rng(0).choice(count, sample, replace=False))
        trained = np.resize(vectors[rows], (max(sample, _FEWEST_TRAINED), dimension))
        index.train(np.ascontiguousarray(trained))
        for start in range(0, count, _BLOCK):
            index.add(np.ascontiguousarray(vectors[start : start + _BLOCK]))
        return bytes(faiss.serialize_index(index).tobytes())

    def open(self, index_id: str, vectors: Floats, prepared: bytes) -> IvfPqIndex:
        return IvfPqIndex(faiss.deserialize_index(np.frombuffer(prepared, np.uint8)), vectors)
