"""The engine behind Triton against the engine in this process: images a second, nano size.

Both take single images from 8 callers at a time, encode as many new prompts, and denoise in one
thread. They take turns, each first in every second one; the ratio is the median over turns of the
time in process over the time through Triton. The gain of batching is Triton against itself with a
batch of one.
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

from benchmarks.paired import ratios
from generator.backend import Backend
from generator.backends import start_engine, start_triton
from generator.engine.items import Item
from generator.settings import GeneratorSettings
from generator.triton.launcher import LocalTriton
from servicekit.storage import MemoryStore

_CALLERS, _IMAGES, _TURNS = 8, 40, 12
_SETTINGS = GeneratorSettings(threads=1, max_batch=_CALLERS)
_seeds = count()


def measure() -> dict[str, Any]:
    """Returns the ratio of images a second, its error, and the gain of batching."""
    own = start_engine(_SETTINGS, MemoryStore())
    with _triton(_SETTINGS) as batched:
        here, there = _alternate(own, batched)
    own.close()
    with _triton(replace(_SETTINGS, max_batch=1)) as single:
        alone = _IMAGES / min(_seconds(single) for _ in range(2))
    batched_rate = _IMAGES / statistics.median(there)
    return {
        **ratios(here, there),
        "required": 0.95,
        "images_per_second_in_process": _IMAGES / statistics.median(here),
        "images_per_second_triton": batched_rate,
        "images_per_second_triton_one_at_a_time": alone,
        "gain_of_batching": batched_rate / alone,
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


def _alternate(own: Backend, triton: Backend) -> tuple[list[float], list[float]]:
    """Returns the seconds of each turn. Those before the first only warm up."""
    spent: dict[Backend, list[float]] = {own: [], triton: []}
    for turn in range(_TURNS + 1):
        for backend in (own, triton) if turn % 2 else (triton, own):
            spent[backend].append(_seconds(backend))
    return spent[own][1:], spent[triton][1:]


def _seconds(backend: Backend) -> float:
    """Returns how long the images take that the callers want."""

    def make(seed: int) -> None:
        item = Item("text", seed, 25, 3.5, f"a photo of a dog, {seed}")
        backend.submit_all([item])[0].result()

    began = time.perf_counter()
    with ThreadPoolExecutor(_CALLERS) as callers:
        list(callers.map(make, [next(_seeds) for _ in range(_IMAGES)]))
    return time.perf_counter() - began
