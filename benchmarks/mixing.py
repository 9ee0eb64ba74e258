"""Mixing 10,000 MVC embeddings of 77 x 768 against a plain copy of the same bytes.

Run it with `python -m benchmarks.mixing`. The ratio is copy time over mixing time, so that more is
better; 0.08 means that mixing takes 12.5 copies.
"""

import json
import time
import tracemalloc

import numpy as np
from numpy.typing import NDArray

from gateway.mixing import mvc

SHAPE = (77, 768)
CAPTIONS, ITEMS, BLOCK = 20, 10_000, 16
REQUIRED = 0.08


def measure() -> dict[str, float]:
    """Returns the ratio, both times in seconds and the peak memory of mixing in bytes.

    `peak_ratio` is the peak memory of mixing all items over that of mixing a tenth of them: about
    1, since mixing is streamed.
    """
    embeddings = np.random.default_rng(0).standard_normal((CAPTIONS, *SHAPE), dtype=np.float32)
    seeds = np.arange(ITEMS, dtype=np.uint64)
    copy_seconds = min(_time_copy(embeddings) for _ in range(2))
    mix_seconds = min(_time_mix(embeddings, seeds) for _ in range(2))
    few, many = _peak(embeddings, seeds[: ITEMS // 10]), _peak(embeddings, seeds)
    return {
        "ratio": copy_seconds / mix_seconds,
        "required": REQUIRED,
        "copy_seconds": copy_seconds,
        "mix_seconds": mix_seconds,
        "peak_bytes": float(many),
        "peak_ratio": many / few,
    }


def _time_copy(embeddings: NDArray[np.float32]) -> float:
    """Copies as many bytes in blocks of the same size, source and target in memory alike."""
    buffer = np.empty((BLOCK, *SHAPE), np.float32)
    began = time.perf_counter()
    for _ in range(ITEMS // BLOCK):
        np.copyto(buffer, embeddings[:BLOCK])
    return time.perf_counter() - began


def _time_mix(embeddings: NDArray[np.float32], seeds: NDArray[np.uint64]) -> float:
    began = time.perf_counter()
    for _ in mvc.stream(embeddings, seeds, block=BLOCK):
        pass
    return time.perf_counter() - began


def _peak(embeddings: NDArray[np.float32], seeds: NDArray[np.uint64]) -> int:
    tracemalloc.start()
    try:
        for _ in mvc.stream(embeddings, seeds, block=BLOCK):
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
