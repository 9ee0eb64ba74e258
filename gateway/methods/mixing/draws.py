"""Random draws that depend on an item's own seed only, for many items at once.

SplitMix64 (Steele, Lea, Flood 2014) as a counter-based generator: draw number i of a seed is a
hash of (seed, i), so a whole matrix of draws is a few array operations, and no item's draws depend
on its position, its neighbours or the number of items.
"""

import numpy as np
from numpy.typing import NDArray

Uniforms = NDArray[np.float64]
Integers = NDArray[np.int64]

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def uniforms(seeds: NDArray[np.uint64], count: int) -> Uniforms:
    """Returns [len(seeds), count] numbers, uniform on [0, 1) with 53 bits."""
    steps = np.arange(1, count + 1, dtype=np.uint64) * _GAMMA
    states = _mix(np.asarray(seeds, np.uint64))[:, None] + steps[None, :]
    return (_mix(states) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def below(numbers: Uniforms, count: int) -> Integers:
    """Maps uniform numbers to integers, uniform on 0 .. count - 1."""
    return np.minimum((numbers * count).astype(np.int64), count - 1)


def slices(first: Uniforms, second: Uniforms, size: int) -> tuple[Integers, Integers]:
    """Maps pairs of uniform numbers to half-open, never empty slices start:stop of 0 .. size.

    Every pair 0 <= start < stop <= size is equally likely.
    """
    one = below(first, size + 1)
    other = below(second, size)
    other += other >= one  # Skips `one`, so the two ends always differ.
    return np.minimum(one, other), np.maximum(one, other)


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    values = (values ^ (values >> np.uint64(30))) * _FIRST
    values = (values ^ (values >> np.uint64(27))) * _SECOND
    return values ^ (values >> np.uint64(31))
