"""Learning rate schedules: the share of the peak learning rate at each step of a cycle."""

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
