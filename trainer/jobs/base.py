"""What every job is: something that is learned step by step, from a spec to a result.

A file of this folder is a job's kind. It has `Spec`, a dataclass on top of `runs.JobSpec`, and
`create(spec, share, device)`, which makes the job. `training.train` does the rest for all alike:
steps, metrics, checkpoints, and going on from one.
"""

from collections.abc import Iterator
from typing import Any, Protocol

from torch import Tensor
from torch.nn import Module
from torch.optim import Optimizer


class Job(Protocol):
    """Everything depends on the spec and the step (from 0), so an interrupted job goes on as if
    nothing had been. Several processes may do it together, each on its share of every batch."""

    metrics: tuple[str, ...]
    """What `update` measures, by name; the first is the loss."""

    model: Module
    """What is learned: its state is that of checkpoints."""

    optimizer: Optimizer

    def batches(self, first_step: int) -> Iterator[Any]:
        """The batches from a step on to the last."""

    def update(self, step: int, batch: Any) -> Tensor:
        """Does one optimiser step. Returns the metrics, on whichever device and unread."""

    def is_done(self, step: int) -> bool:
        """Whether nothing is left to learn after so many steps, fewer than the spec's."""

    def finish(self, losses: tuple[float, ...], seconds: float) -> Any:
        """Writes what comes out into the spec's folder, and returns the result, a dataclass.

        `losses` are those of the latest steps, `seconds` the time of all. Only the first of several
        processes is asked.
        """
