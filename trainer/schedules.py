"""Learning rate schedules: the share of the peak learning rate at each step of a cycle."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, pi


@dataclass(frozen=True)
class Cosine:
    """Linear warm-up to 1 over a share of the steps, then a half cosine towards 0: one cycle."""

    warm_up: float = 0.2

    def factor(self, step: int, step_count: int) -> float:
        """The share at a step of `step_count`, counted from 0."""
        progress = (step + 0.5) / step_count
        if progress < self.warm_up:
            return progress / self.warm_up
        return 0.5 * (1 + cos(pi * (progress - self.warm_up) / (1 - self.warm_up)))


@dataclass(frozen=True)
class Steps:
    """1, and `gamma` times less after each share of the steps in `milestones`."""

    milestones: tuple[float, ...]
    gamma: float

    def factor(self, step: int, step_count: int) -> float:
        """The share at a step of `step_count`, counted from 0."""
        progress = (step + 0.5) / step_count
        return self.gamma ** sum(progress >= milestone for milestone in self.milestones)


Schedule = Cosine | Steps
SCHEDULES: dict[str, type[Schedule]] = {"cosine": Cosine, "steps": Steps}


@dataclass(frozen=True)
class Plateau:
    """1, and `gamma` times less after each `patience` epochs without a higher validation accuracy.

    It ends a run after `stop_after` such epochs in a row, and after `epoch_count` in any case. The
    values are BURG's. An epoch has as many steps as a pass over all training images takes.
    """

    patience: int = 10
    gamma: float = 0.1
    stop_after: int = 20
    epoch_count: int = 270

    def factor(self, accuracies: Sequence[float]) -> float:
        """The share after epochs of these validation accuracies."""
        drops = sum(stale % self.patience == 0 for stale in _stale(accuracies) if stale)
        return self.gamma**drops

    def is_done(self, accuracies: Sequence[float]) -> bool:
        """Whether nothing more is to be had after epochs of these validation accuracies."""
        stale = _stale(accuracies)
        return len(stale) >= self.epoch_count or (bool(stale) and stale[-1] >= self.stop_after)


# What a run can ask for in place of its classifier's own schedule.
PLATEAU = "plateau"


def epoch_steps(image_count: int, batch_size: int) -> int:
    """The steps of an epoch."""
    return -(-image_count // batch_size)


def _stale(accuracies: Sequence[float]) -> list[int]:
    """For each epoch, how many there were since the last that had the highest accuracy so far."""
    best, since, found = -1.0, 0, []
    for accuracy in accuracies:
        since = 0 if accuracy > best else since + 1
        best = max(best, accuracy)
        found.append(since)
    return found
