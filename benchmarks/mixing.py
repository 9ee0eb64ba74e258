"""Mixing MVC embeddings of 77 x 768 against a plain copy of the same bytes.

Run it with `python -m benchmarks mixing`. The ratio is copy time over the time that drawing and
mixing take, item by item as the gateway draws and the generator mixes, so that more is better.
"""

import json
import time

import numpy as np
import torch
from torch import Tensor

from diffusion.mixing import CaptionMix
from gateway.methods.mixing import mvc

SHAPE = (77, 768)
CAPTIONS, ITEMS = 20, 2_000
REQUIRED = 0.15


def measure() -> dict[str, float]:
    """Returns the ratio and the seconds that 2,000 items take to copy, to draw and to mix."""
    torch.set_num_threads(1)
    matrices = list(torch.randn(CAPTIONS, *SHAPE, generator=torch.Generator().manual_seed(0)))
    began = time.perf_counter()
    mixes = [_drawn(seed) for seed in range(ITEMS)]
    draw_seconds = time.perf_counter() - began
    copy_seconds = min(_time_copy(matrices) for _ in range(3))
    mix_seconds = min(_time_mix(matrices, mixes) for _ in range(3))
    return {
        "ratio": copy_seconds / mix_seconds,
        "required": REQUIRED,
        "copy_seconds": copy_seconds,
        "mix_seconds": mix_seconds,
        "draw_seconds": draw_seconds,
    }


def _drawn(seed: int) -> CaptionMix:
    mixes = mvc.draw(np.array([seed], np.uint64), caption_count=CAPTIONS, shape=SHAPE)
    drawn = mvc.describe(mixes)[0]
    captions = tuple(map(str, range(CAPTIONS)))
    coarse, fine = (tuple(map(tuple, drawn[name])) for name in ("coarse", "fine"))
    return CaptionMix(captions, drawn["start"], coarse, fine)


def _time_copy(matrices: list[Tensor]) -> float:
    """Copies as many bytes, a matrix at a time."""
    target = torch.empty(SHAPE)
    began = time.perf_counter()
    for number in range(ITEMS):
        target.copy_(matrices[number % CAPTIONS])
    return time.perf_counter() - began


def _time_mix(matrices: list[Tensor], mixes: list[CaptionMix]) -> float:
    began = time.perf_counter()
    for mix in mixes:
        mix.of(matrices)
    return time.perf_counter() - began


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
