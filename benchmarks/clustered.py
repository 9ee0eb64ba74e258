"""Clustered vectors for benchmarks of search, generated from a seed, with the exact answers."""

from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

DIMENSION, CLUSTERS, SPREAD = 512, 1_000, 0.7
QUERIES, HITS = 1_000, 182
_BLOCK = 50_000

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Clustered:
    """Unit vectors [n, 512], mapped; queries of the same clusters; the rows of exact search."""

    vectors: Vectors
    queries: Vectors
    truth: NDArray[np.int64]


def clustered(folder: Path, count: int, seed: int = 0) -> Clustered:
    """Returns the vectors, made once and kept in `folder`.

    Clusters and what lies in them have a spectrum that falls as 1 / sqrt(i) along randomly turned
    axes, as embeddings of networks do; a query is near some hundreds of vectors and far from most.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.npy" for name in ("vectors", "queries", "truth")]
    if not paths[-1].exists():
        _generate(count, seed, *paths[:2])
        np.save(paths[2], _exact(np.load(paths[0], mmap_mode="r"), np.load(paths[1])))
    return Clustered(np.load(paths[0], mmap_mode="r"), np.load(paths[1]), np.load(paths[2]))


def recall(found: list[list[int]], truth: NDArray[np.int64]) -> float:
    """Returns the share of the exact answers that was found, over the first len(found) queries."""
    shares = [
        len(set(rows) & set(exact.tolist())) / len(exact)
        for rows, exact in zip(found, truth, strict=False)
    ]
    return float(np.mean(shares))


def _generate(count: int, seed: int, vectors_path: Path, queries_path: Path) -> None:
    rng = np.random.default_rng(seed)
    spectrum = np.arange(1, DIMENSION + 1, dtype=np.float32) ** -0.5
    turned = np.linalg.qr(rng.normal(size=(DIMENSION, DIMENSION)))[0].astype(np.float32)
    centres = rng.normal(size=(CLUSTERS, DIMENSION)).astype(np.float32) * spectrum

    def draw(number: int) -> Vectors:
        chosen = centres[rng.integers(0, CLUSTERS, number)]
        noise = rng.standard_normal((number, DIMENSION), np.float32) * spectrum
        points = (chosen + SPREAD * noise) @ turned
        return points / np.linalg.norm(points, axis=1, keepdims=True)

    out = np.lib.format.open_memmap(vectors_path, "w+", np.float32, (count, DIMENSION))
    for start in range(0, count, _BLOCK):
        out[start : start + _BLOCK] = draw(min(_BLOCK, count - start))
    out.flush()
    np.save(queries_path, draw(QUERIES))


def _exact(vectors: Vectors, queries: Vectors) -> NDArray[np.int64]:
    similarities = np.zeros((len(queries), 0), np.float32)
    rows = np.zeros((len(queries), 0), np.int64)
    for start in range(0, len(vectors), _BLOCK):
        index = faiss.IndexFlatIP(DIMENSION)
        index.add(np.ascontiguousarray(vectors[start : start + _BLOCK]))
        found = index.search(queries, HITS)
        similarities = np.concatenate([similarities, found[0]], axis=1)
        rows = np.concatenate([rows, found[1] + start], axis=1)
        best = np.argsort(-similarities, axis=1, kind="stable")[:, :HITS]
        similarities = np.take_along_axis(similarities, best, 1)
        rows = np.take_along_axis(rows, best, 1)
    return rows
