"""Screening against a million protected pictures: the index against a scan of all hashes.

Run it with `python -m benchmarks screening_scale`. Protected are blends of the shipped pool's
photographs, which have the statistics of photographs. Candidates are other photographs of the pool
and, each second one, a changed copy of a protected picture. The ratio is the scan's time for a
candidate over the index's, both with everything that a candidate costs after it is decoded: hashes,
look-up and the comparison of pixels. The look-up alone is told as well.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from imaging.copies import CopyIndex, find_by_scan
from imaging.decode import decode_image
from imaging.fingerprint import HASHES, SIDE, Hashes, Thumbnail, crop_hashes, thumbnail_of

POOL = Path(__file__).parents[1] / "models" / "nano" / "demo" / "pool.parquet"
PROTECTED, FEW = 1_000_000, 20_000
CANDIDATES, SCANNED = 400, 12
# What is left of the time is the comparison of pixels, for every picture that a hash leads to.
REQUIRED = 2.0


def measure(count: int = PROTECTED) -> dict[str, float]:
    """Returns the ratio of times, milliseconds a candidate, and how often the verdicts differ."""
    rng = np.random.default_rng(0)
    photographs = _photographs(4000)
    # Strangers are photographs that went into no blend.
    blended, strangers = photographs[::2], photographs[1::2]
    thumbnails, hashes = _blends(blended, count, rng)
    candidates = _candidates(strangers, thumbnails[:FEW], rng)
    few = CopyIndex.build(hashes[:FEW], lambda row: thumbnails[row])
    pairs = [(few.find(c), find_by_scan(c, hashes[:FEW], thumbnails)) for c in candidates]
    began = time.perf_counter()
    index = CopyIndex.build(hashes, lambda row: thumbnails[row])
    built = time.perf_counter() - began
    indexed = _milliseconds(index.find, candidates)
    looked_up = _milliseconds(index.near, candidates)
    scanned = _milliseconds(lambda c: find_by_scan(c, hashes, thumbnails), candidates[:SCANNED])
    return {
        "ratio": scanned / indexed,
        "required": REQUIRED,
        "protected": count,
        "index_ms_per_candidate": indexed,
        "look_up_ms_per_candidate": looked_up,
        "scan_ms_per_candidate": scanned,
        "build_seconds": built,
        "copies_found": sum(found is not None for found, _ in pairs) / len(pairs),
        "verdicts_that_differ": sum(first != second for first, second in pairs),
    }


def _photographs(count: int) -> Thumbnail:
    column = pq.read_table(POOL, columns=["image"])["image"]
    taken = column.take(list(range(0, len(column), len(column) // count)))
    rows: list[Any] = taken[:count].to_pylist()
    return np.stack([thumbnail_of(decode_image(row["bytes"])) for row in rows])


def _blends(
    photographs: Thumbnail, count: int, rng: np.random.Generator
) -> tuple[Thumbnail, Hashes]:
    thumbnails = np.zeros((count, SIDE, SIDE), np.uint8)
    hashes = np.zeros((count, HASHES), np.uint64)
    for row in range(count):
        first, second = photographs[rng.integers(len(photographs), size=2)]
        share = rng.uniform(0.3, 0.7)
        thumbnails[row] = share * first + (1 - share) * second[::-1]
        hashes[row] = crop_hashes(thumbnails[row])
    return thumbnails, hashes


def _candidates(
    photographs: Thumbnail, protected: Thumbnail, rng: np.random.Generator
) -> list[Thumbnail]:
    found = []
    for number in range(CANDIDATES):
        if number % 2:
            found.append(photographs[rng.integers(len(photographs))])
        else:
            copy = protected[rng.integers(len(protected)), :, ::-1]
            noise = rng.normal(0, 3, copy.shape)
            found.append((copy * 0.9 + 10 + noise).clip(0, 255).astype(np.uint8))
    return found


def _milliseconds(find: Callable[[Thumbnail], object], asked: Sequence[Thumbnail]) -> float:
    find(asked[0])
    began = time.perf_counter()
    for thumbnail in asked:
        find(thumbnail)
    return (time.perf_counter() - began) / len(asked) * 1000
