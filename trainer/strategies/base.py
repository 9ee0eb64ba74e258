"""The shape of a strategy, with the defaults that most strategies keep."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import Module
from torch.nn.functional import cross_entropy

from trainer.schedules import Schedule

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Draw:
    """The rows of a batch, and which time each is drawn: no row has the same number twice."""

    rows: Rows
    passes: Rows


@dataclass(frozen=True)
class Sources:
    """What batches are drawn from: rows [0, real_count) are real images, the others synthetic."""

    labels: Rows
    real_count: int
    class_count: int
    batch_size: int
    step_count: int
    seed: int
    schedule: Schedule

    @property
    def count(self) -> int:
        """Images in all, real and synthetic."""
        return len(self.labels)

    def places(self, step: int) -> tuple[int, int]:
        """The places [first, end) of a step's batch in a row of all batches."""
        return step * self.batch_size, (step + 1) * self.batch_size


class UnfitModelError(ValueError):
    """What a run asks for does not go with its classifier; says why, and what does."""


class Strategy(ABC):
    """Draws batches, sets the pace and computes the loss of one run.

    Everything depends on the sources and the step alone (steps count from 0), so an interrupted
    run goes on exactly where it was without any saved state of random generators.
    """

    def __init__(self, sources: Sources) -> None:
        self.sources = sources

    @abstractmethod
    def draw(self, step: int) -> Draw:
        """The rows of the step's batch, [batch_size]."""

    def learning_rate_factor(self, step: int) -> float:
        """The share of the peak learning rate at a step, 0 to 1."""
        return self.sources.schedule.factor(step, self.sources.step_count)

    def adapt(self, model: Module) -> Module:
        """The model as the strategy trains and tests it; called once, before training.

        Raises UnfitModelError for a model that it cannot train.
        """
        return model

    def weights(self, model: Module) -> Mapping[str, Tensor]:
        """The weights of the network that is tested, by the names that it has by itself."""
        return model.state_dict()

    def logits(self, model: Module, images: Tensor, synthetic: Tensor) -> Tensor:
        """Training logits [B, classes] of images [B, 3, H, W]; `synthetic` is a bool [B]."""
        logits: Tensor = model(images)
        return logits

    def loss(self, logits: Tensor, labels: Tensor, label_smoothing: float) -> Tensor:
        """The mean loss of logits [B, classes] for labels [B].

        Of mixed images `labels` are the share of each class instead, [B, classes].
        """
        return cross_entropy(logits, labels, label_smoothing=label_smoothing)


def shuffled(count: int, first: int, end: int, seed: int) -> Draw:
    """The draws [first, end) of an endless row of shuffles of range(count).

    Every `count` consecutive draws hold each row once; they may span two shuffles and more.
    """
    places = np.arange(first, end)
    passes = places // count
    orders = {number: _shuffle(count, number, seed) for number in np.unique(passes).tolist()}
    parts = [order[places[passes == number] % count] for number, order in orders.items()]
    return Draw(np.concatenate([places[:0], *parts]), passes)


def joined(real: Draw, synthetic: Draw, real_count: int) -> Draw:
    """A batch of rows of real images, and of synthetic ones, which are counted from 0 here."""
    return Draw(
        np.concatenate([real.rows, synthetic.rows + real_count]),
        np.concatenate([real.passes, synthetic.passes]),
    )


# Of the shuffles a strategy needs two at a time of each kind, and each takes 8 bytes an image.
@lru_cache(maxsize=4)
def _shuffle(count: int, number: int, seed: int) -> Rows:
    return np.random.default_rng([seed, number, count]).permutation(count)
