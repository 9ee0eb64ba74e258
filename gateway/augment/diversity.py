"""How diverse prompts are, in figures, and which of them say the same."""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def distinct(prompts: Sequence[str], n: int) -> float:
    """Returns distinct-n (Li et al.): different n-grams of words, as a share of all of them."""
    words = [re.findall(r"\w+", prompt.lower()) for prompt in prompts]
    grams = [tuple(line[i : i + n]) for line in words for i in range(len(line) - n + 1)]
    return len(set(grams)) / len(grams) if grams else 0.0


def mean_distance(vectors: Array) -> float:
    """Returns the mean cosine distance of all pairs of unit vectors [n, d], 0 to 2."""
    count = len(vectors)
    if count < 2:
        return 0.0
    # The products of all pairs add up to the square of the sum.
    whole = vectors.sum(axis=0, dtype=np.float64)
    total = float(whole @ whole) - float(np.square(vectors, dtype=np.float64).sum())
    return 1 - total / (count * (count - 1))


def first_of_alike(vectors: Array, least_distance: float, taken: Array | None = None) -> list[int]:
    """Returns the numbers of the unit vectors [n, d] to keep, in order.

    One that is nearer than `least_distance` (cosine) to one kept before it, or to one of `taken`,
    is not kept.
    """
    kept: list[int] = []
    count = 0 if taken is None else len(taken)
    earlier = np.empty((count + len(vectors), *vectors.shape[1:]), np.float32)
    if taken is not None:
        earlier[:count] = taken
    for number, vector in enumerate(vectors):
        if not count or float((earlier[:count] @ vector).max()) <= 1 - least_distance:
            earlier[count] = vector
            kept.append(number)
            count += 1
    return kept
