"""The shape of a strategy, with the defaults that most strategies keep."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from math import cos, pi

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import Module
from torch.nn.functional import cross_entropy

Rows = NDArray[np.int64]

_WARM_UP = 0.2  # share of the steps


@dataclass(frozen=True)
class Sources:
    """What batches are drawn from: rows [0, real_count) are real images, the others synthetic."""

    labels: Rows
    real_count: int
    class_count: int
    batch_size: int
    step_count: int
    seed: int

    @property
    def count(self) -> int:
        """Images in all, real and synthetic."""
        return len(self.labels)


class Strategy(ABC):
    """Draws batches, sets the pace and computes the loss of one run.

    Everything depends on the sources and the step alone (steps count from 0), so an interrupted
    run goes on exactly where it was without any saved state of random generators.
    """

    def __init__(self, sources: Sources) -> None:
        self.sources = sources

    @abstractmethod
    def rows(self, step: int) -> Rows:
        """The rows of the step's batch, [batch_size]."""

    def learning_rate_factor(self, step: int) -> float:
        """The share of the peak learning rate at a step, 0 to 1: one cycle."""
        return one_cycle(step, self.sources.step_count)

    def adapt(self, model: Module) -> Module:
        """The model as the strategy trains and tests it; called once, before training."""
        return model

    def logits(self, model: Module, images: Tensor, synthetic: Tensor) -> Tensor:
        """Training logits [B, classes] of images [B, 3, H, W]; `synthetic` is a bool [B]."""
        logits: Tensor = model(images)
        return logits

    def loss(self, logits: Tensor, labels: Tensor, label_smoothing: float) -> Tensor:
        """The mean loss of logits [B, classes] for labels [B]."""
        return cross_entropy(logits, labels, label_smoothing=label_smoothing)


def one_cycle(step: int, step_count: int) -> float:
    """Linear warm-up to 1, then a half cosine towards 0."""
    progress = (step + 0.5) / step_count
    if progress < _WARM_UP:
        return progress / _WARM_UP
    return 0.5 * (1 + cos(pi * (progress - _WARM_UP) / (1 - _WARM_UP)))


def shuffled(count: int, step: int, batch_size: int, seed: int) -> Rows:
    """Batch `step` of an endless row of shuffles of range(count).

    Every `count` consecutive draws hold each row once; a batch may span two shuffles.
    """
    first = step * batch_size
    epochs = range(first // count, (first + batch_size - 1) // count + 1)
    stream = np.concatenate([_shuffle(count, epoch, seed) for epoch in epochs])
    start = first - epochs[0] * count
    return stream[start : start + batch_size]


@lru_cache(maxsize=8)
def _shuffle(count: int, epoch: int, seed: int) -> Rows:
    return np.random.default_rng([seed, epoch, count]).permutation(count)
