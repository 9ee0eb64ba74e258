"""AUGCOND's augmentations of image embeddings, section 3: Embed-MixUp, Embed-CutMix, dropout.

Each operation is drawn from an item's own seed before any embedding is known, so that the plan and
the lineage hold it, and is applied to float32 vectors [d] later.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gateway.methods.mixing import draws

Vector = NDArray[np.float32]
Drawn = dict[str, float | int | list[int] | list[float]]

DROPOUT = 0.4  # As in the authors' public code.


@dataclass(frozen=True)
class EmbedMixUp:
    """l * first + (1 - l) * second with l ~ Beta(1, 1), which is uniform on [0, 1)."""

    share: float

    @classmethod
    def draw(cls, seed: int, dimension: int) -> "EmbedMixUp":
        return cls(float(numbers(seed, 0x313, 1)[0]))

    def apply(self, first: Vector, second: Vector) -> Vector:
        _same_shape(first, second)
        mixed = np.float32(self.share) * first + np.float32(1 - self.share) * second
        return mixed.astype(np.float32)

    def lineage(self) -> Drawn:
        return {"lambda": self.share}


@dataclass(frozen=True)
class EmbedCutMix:
    """A contiguous share 1 - l of the features comes from the second vector, l ~ Beta(1, 1).

    At least one feature comes from each. The cut runs along the feature axis; the authors' public
    code cuts along the batch axis, which changes nothing.
    """

    share: float
    start: int
    stop: int

    @classmethod
    def draw(cls, seed: int, dimension: int) -> "EmbedCutMix":
        drawn = numbers(seed, 0xC07, 2)
        share = float(drawn[0])
        length = min(max(round((1 - share) * dimension), 1), max(dimension - 1, 1))
        start = int(draws.below(drawn[1:], dimension - length + 1)[0])
        return cls(share, start, start + length)

    def apply(self, first: Vector, second: Vector) -> Vector:
        _same_shape(first, second)
        mixed = first.astype(np.float32, copy=True)
        mixed[self.start : self.stop] = second[self.start : self.stop]
        return mixed

    def lineage(self) -> Drawn:
        return {"lambda": self.share, "cut": [self.start, self.stop]}


@dataclass(frozen=True)
class Dropout:
    """Sets each entry to zero with `probability` in [0, 1]. What is kept is not rescaled."""

    seed: int
    probability: float = DROPOUT

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ValueError(f"dropout needs a probability in [0, 1], not {self.probability}")

    def zeroed(self, dimension: int) -> list[int]:
        """Returns which of so many features are set to zero."""
        dropped = numbers(self.seed, 0xD20, dimension) < self.probability
        return [int(number) for number in np.flatnonzero(dropped)]

    def apply(self, vector: Vector) -> Vector:
        result = vector.astype(np.float32, copy=True)
        result[self.zeroed(len(vector))] = 0
        return result

    def lineage(self) -> Drawn:
        return {"dropout": self.probability}


def numbers(seed: int, purpose: int, count: int) -> draws.Uniforms:
    """Draws numbers of one purpose, so that two operations on one item do not share draws."""
    seeds = np.array([seed ^ purpose], np.uint64)
    return draws.uniforms(seeds, count)[0]


def _same_shape(first: Vector, second: Vector) -> None:
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(
            f"image embeddings must be vectors of one length, not {first.shape} and {second.shape}"
        )
