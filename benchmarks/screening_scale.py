"""Screening against a million protected pictures: the index against a scan of all hashes.

Run it with `python -m benchmarks screening_scale`. Protected are blends of the shipped pool's
photographs, which have the statistics of photographs. Candidates are other photographs of the pool
and, each second one, a changed copy of a protected picture. The ratio is the scan's time for a
candidate over the index's, both with everything that a candidate costs after it is decoded: hashes,
look-up and the comparison of pixels. They are asked for as by the service: 32 a call, a thread for
each 16. Strangers and copies are told apart, on one thread: a copy costs one exact comparison more.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from imaging.copies import CopyIndex, find_by_scan
from imaging.decode import decode_image
from imaging.fingerprint import HASHES, SIDE, Hashes, Thumbnail, crop_hashes, thumbnail_of
from servicekit.products import multiply_alone

POOL = Path(__file__).parents[1] / "models" / "nano" / "demo" / "pool.parquet"
PROTECTED, FEW = 1_000_000, 20_000
CANDIDATES, SCANNED = 400, 12
CALL, BLOCK = 32, 16
REQUIRED = 50.0


def measure(count: int = PROTECTED) -> dict[str, float]:
    """Returns the ratio of times, milliseconds a candidate, and how often the verdicts differ."""
    multiply_alone()
    rng = np.random.default_rng(0)
    photographs = _photographs(4000)
    # Strangers are photographs that went into no blend.
    blended, strangers = photographs[::2], photographs[1::2]
    thumbnails, hashes = _blends(blended, count, rng)
    candidates = _candidates(strangers, thumbnails[:FEW], rng)
    few = CopyIndex.build(hashes[:FEW], thumbnails[:FEW])
    expected = [find_by_scan(one, hashes[:FEW], thumbnails) for one in candidates]
    found = few.find_all(candidates)
    began = time.perf_counter()
    index = CopyIndex.build(hashes, thumbnails)
    built = time.perf_counter() - began
    index.find_all(candidates[:CALL])  # compiles
    with ThreadPoolExecutor(CALL // BLOCK) as threads:
        indexed = _milliseconds(lambda some: _call(index, some, threads), candidates)
    alone = {
        "copy_ms_alone": _milliseconds(index.find_all, candidates[::2]),
        "stranger_ms_alone": _milliseconds(index.find_all, candidates[1::2]),
    }
    scanned = _milliseconds(
        lambda some: [find_by_scan(one, hashes, thumbnails) for one in some], candidates[:SCANNED]
    )
    return {
        "ratio": scanned / indexed,
        "required": REQUIRED,
        "protected": count,
        "index_ms_per_candidate": indexed,
        "scan_ms_per_candidate": scanned,
        **alone,
        "build_seconds": built,
        "copies_found": sum(row is not None for row in found) / len(found),
        "verdicts_that_differ": sum(a != b for a, b in zip(found, expected, strict=True)),
    }


def _call(index: CopyIndex, candidates: Thumbnail, threads: ThreadPoolExecutor) -> None:
    blocks = [candidates[start : start + BLOCK] for start in range(0, len(candidates), BLOCK)]
    list(threads.map(index.find_all, blocks))


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
) -> Thumbnail:
    found = []
    for number in range(CANDIDATES):
        if number % 2:
            found.append(photographs[rng.integers(len(photographs))])
        else:
            copy = protected[rng.integers(len(protected)), :, ::-1]
            noise = rng.normal(0, 3, copy.shape)
            found.append((copy * 0.9 + 10 + noise).clip(0, 255).astype(np.uint8))
    return np.stack(found)


def _milliseconds(find: Callable[[Thumbnail], object], asked: Thumbnail) -> float:
    began = time.perf_counter()
    for start in range(0, len(asked), CALL):
        find(asked[start : start + CALL])
    return (time.perf_counter() - began) / len(asked) * 1000
