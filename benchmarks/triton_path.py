"""The engine behind Triton against the engine in this process: images a second, nano size.

Both take the same single images from 8 callers at a time, encode the same prompts, and have a
process's worth of threads. The gain of batching is Triton against itself with a batch of one.
"""

import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from generator.backend import Backend
from generator.backends import start_engine, start_triton
from generator.engine.items import Item
from generator.settings import GeneratorSettings
from generator.triton.launcher import LocalTriton
from servicekit.storage import MemoryStore

_CALLERS, _IMAGES, _ROUNDS = 8, 32, 7
_SETTINGS = GeneratorSettings(threads=1, max_batch=_CALLERS)
_seeds = count()


def measure() -> dict[str, Any]:
    """Returns the ratio of images a second and the gain of batching."""
    own = start_engine(_SETTINGS, MemoryStore())
    with _triton(_SETTINGS) as batched:
        here, there = _alternate(own, batched)
    own.close()
    with _triton(replace(_SETTINGS, max_batch=1)) as single:
        alone = max(_rate(single) for _ in range(2))
    ratios = [b / a for a, b in zip(here, there, strict=True)]
    return {
        "ratio": statistics.median(ratios),
        "required": 0.95,
        "images_per_second_in_process": max(here),
        "images_per_second_triton": max(there),
        "images_per_second_triton_one_at_a_time": alone,
        "gain_of_batching": max(there) / alone,
        "callers": _CALLERS,
    }


@contextmanager
def _triton(settings: GeneratorSettings) -> Iterator[Backend]:
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalTriton(Path(folder), settings, "memory:") as server,
    ):
        backend = start_triton(server.settings, MemoryStore())
        backend.is_healthy()
        yield backend
        backend.close()


def _alternate(first: Backend, second: Backend) -> tuple[list[float], list[float]]:
    """Measures in turns, so that a machine that slows down slows both."""
    for backend in (first, second):
        _rate(backend)
    pairs = [(_rate(first), _rate(second)) for _ in range(_ROUNDS)]
    return [a for a, _ in pairs], [b for _, b in pairs]


def _rate(backend: Backend) -> float:
    def make(seed: int) -> None:
        item = Item("text", seed, 25, 3.5, f"a photo of a dog, {seed}")
        backend.submit_all([item])[0].result()

    started = time.perf_counter()
    with ThreadPoolExecutor(_CALLERS) as callers:
        list(callers.map(make, [next(_seeds) for _ in range(_IMAGES)]))
    return _IMAGES / (time.perf_counter() - started)
