"""AUGCOND's augmentations of image embeddings, section 3: dropout, Embed-MixUp, Embed-CutMix.

Every function takes vectors [d] and the item's own seed, and returns a new float32 vector [d] and
what was drawn, for the lineage.
"""

import numpy as np
from numpy.typing import NDArray

from gateway.mixing import draws

Vector = NDArray[np.float32]
Drawn = dict[str, float | int | list[int]]

DROPOUT = 0.4  # As in the authors' public code.


def dropout(embedding: Vector, *, seed: int, probability: float = DROPOUT) -> tuple[Vector, Drawn]:
    """Sets each entry to zero with `probability` in [0, 1]. What is kept is not rescaled."""
    if not 0 <= probability <= 1:
        raise ValueError(f"the dropout probability must be in [0, 1], not {probability}")
    kept = _numbers(seed, 0xD20, len(embedding)) >= probability
    drawn: Drawn = {"dropout": probability, "dropped_count": int((~kept).sum())}
    return np.where(kept, embedding, np.float32(0)).astype(np.float32), drawn


def embed_mixup(first: Vector, second: Vector, *, seed: int) -> tuple[Vector, Drawn]:
    """Returns l * first + (1 - l) * second with l ~ Beta(1, 1), which is uniform on [0, 1)."""
    _same_shape(first, second)
    share = float(_numbers(seed, 0x313, 1)[0])
    mixed = np.float32(share) * first + np.float32(1 - share) * second
    return mixed.astype(np.float32), {"lambda": share}


def embed_cutmix(first: Vector, second: Vector, *, seed: int) -> tuple[Vector, Drawn]:
    """Replaces a contiguous share 1 - l of the features of `first` by those of `second`.

    l ~ Beta(1, 1). At least one feature comes from each. The cut runs along the feature axis; the
    authors' public code cuts along the batch axis, which changes nothing.
    """
    _same_shape(first, second)
    d = len(first)
    numbers = _numbers(seed, 0xC07, 2)
    share = float(numbers[0])
    length = min(max(round((1 - share) * d), 1), max(d - 1, 1))
    start = int(draws.below(numbers[1:], d - length + 1)[0])
    mixed = first.astype(np.float32, copy=True)
    mixed[start : start + length] = second[start : start + length]
    return mixed, {"lambda": share, "cut": [start, start + length]}


def _numbers(seed: int, purpose: int, count: int) -> draws.Uniforms:
    """Draws numbers of one purpose, so that two operations on one item do not share draws."""
    seeds = np.array([seed ^ purpose], np.uint64)
    return draws.uniforms(seeds, count)[0]


def _same_shape(first: Vector, second: Vector) -> None:
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(
            f"image embeddings must be vectors of one length, not {first.shape} and {second.shape}"
        )
