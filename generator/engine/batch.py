"""The samples of a group as tensors: latents, what is remembered of steps, and coefficients.

Samples at different steps of different schedules move together, by operations on all of them; the
numbers stay on the device, and nothing waits for them.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Protocol

import torch
from torch import Tensor

from diffusion.schedules.steps import Steps
from diffusion.schedules.tables import Tables
from generator.engine.model import LoadedModel
from generator.engine.sample import Sample
from generator.engine.scheduler_batch import SchedulerBatch


class Batch(Protocol):
    """Samples under way, in the order in which they joined."""

    def join(self, samples: Sequence[Sample]) -> None:
        """Adds samples at their beginning."""

    def keep(self, numbers: Sequence[int]) -> None:
        """Forgets all samples but these."""

    def questions(self) -> tuple[Tensor, Tensor]:
        """Returns the latents [n, c, h, w] and times [n] that the model is asked about next."""

    def move(self, outputs: Tensor) -> None:
        """Makes one step of every sample, by the model's guided outputs [n, c, h, w]."""

    def latents(self, numbers: Sequence[int]) -> Tensor:
        """Returns the latents [m, c, h, w] of some samples."""


def new_batch(model: LoadedModel) -> Batch:
    """Returns an empty batch: of tensors, or of schedulers where there is no table of steps."""
    tables = model.schedules.tables
    return SchedulerBatch() if tables is None else TableBatch(model, tables)


class TableBatch:
    """Samples whose steps are rows of a table."""

    def __init__(self, model: LoadedModel, tables: Tables) -> None:
        self._tables, self._solver, self._device = tables, tables.solver, model.device
        shape = (0, *model.autoencoder.latent_shape[1:])
        self._latents = torch.empty(shape, device=model.device)
        self._past = self._solver.new_past(self._latents)
        # The steps of each sample, and how many of them are made, as the host knows it.
        self._rows_of: list[Tensor] = []
        self._made: list[int] = []
        # All these steps below each other, and where each sample is among them.
        self._rows = torch.empty(0)
        self._positions = torch.empty(0)

    def join(self, samples: Sequence[Sample]) -> None:
        rows = [self._tables.rows(sample.item.steps, sample.skipped) for sample in samples]
        fresh = torch.cat([sample.latent for sample in samples])
        self._latents = torch.cat([self._latents, fresh])
        self._past = torch.cat([self._past, self._solver.new_past(fresh)])
        self._rows_of += rows
        self._made += [0] * len(samples)
        self._lay_out()

    def keep(self, numbers: Sequence[int]) -> None:
        self._latents, self._past = (
            self._some(self._latents, numbers),
            self._some(self._past, numbers),
        )
        self._rows_of = [self._rows_of[number] for number in numbers]
        self._made = [self._made[number] for number in numbers]
        self._lay_out()

    def questions(self) -> tuple[Tensor, Tensor]:
        self._steps = Steps.at(self._rows[self._positions])
        return self._latents * self._steps.input_scale, self._steps.time.flatten()

    def move(self, outputs: Tensor) -> None:
        moved = self._solver.move(self._steps, self._latents, outputs, self._past)
        self._latents, self._past = moved
        self._positions = self._positions + 1
        self._made = [made + 1 for made in self._made]

    def latents(self, numbers: Sequence[int]) -> Tensor:
        return self._some(self._latents, numbers)

    def _some(self, tensor: Tensor, numbers: Sequence[int]) -> Tensor:
        return tensor[torch.tensor(numbers, dtype=torch.long, device=self._device)]

    def _lay_out(self) -> None:
        self._rows = torch.cat(self._rows_of) if self._rows_of else torch.empty(0)
        starts = accumulate(map(len, self._rows_of), initial=0)
        places = [start + made for start, made in zip(starts, self._made, strict=False)]
        self._positions = torch.tensor(places, device=self._device)
