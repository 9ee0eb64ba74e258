"""A group of samples that share U-Net calls, step by step.

Samples join at any step and leave when they are done, so mixed step counts and strengths keep the
calls full.
"""

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion.embeddings import Inputs
from diffusion.pixels import to_pixels
from generator.engine.conditions.base import Condition
from generator.engine.errors import OutOfMemory
from generator.engine.items import Made
from generator.engine.line import Ticket
from generator.engine.model import Model
from generator.engine.sample import Sample, new_sample, step


@dataclass(eq=False)
class _Running:
    ticket: Ticket
    sample: Sample
    rows: list[Inputs]
    admitted: float


class Denoising:
    """The samples of one model that are under way."""

    def __init__(self, model: Model, *, fixed: bool) -> None:
        self._model, self._fixed = model, fixed
        self._running: list[_Running] = []
        # The inputs of all rows, stacked: rebuilt only when a sample joins or leaves.
        self._inputs: Inputs | None = None

    def __len__(self) -> int:
        return len(self._running)

    def admit(self, tickets: Sequence[Ticket]) -> None:
        """Begins new samples together; if that fails one by one, so that an error is one item's."""
        if not tickets:
            return
        self._inputs = None
        try:
            self._running.extend(self._begin(tickets))
        except Exception as error:
            if len(tickets) == 1:
                fail(tickets[0], _named(error, 1))
                return
            for ticket in tickets:
                self.admit([ticket])

    def step(self) -> None:
        """Makes one step of every sample, and finishes those that are done."""
        self._drop(lambda running: running.ticket.future.cancelled())
        if self._running:
            self._advance()
        done = [running for running in self._running if running.sample.is_done]
        if done:
            # They stay among the running until each has its end, so that no error loses them.
            self._finish(done)
            self._drop(lambda running: running.sample.is_done)

    def abandon(self, error: BaseException) -> None:
        """Fails everything that is under way."""
        error = _named(error, len(self._running))
        for running in self._running:
            fail(running.ticket, error)
        self._running, self._inputs = [], None

    def _begin(self, tickets: Sequence[Ticket]) -> list[_Running]:
        admitted = time.monotonic()
        items = [ticket.item for ticket in tickets]
        texts = self._model.encoders.texts([item.text for item in items])
        # Not read without guidance; the text stands in so that nothing is encoded in vain.
        negatives = self._model.encoders.texts(
            [i.negative if i.is_guided else i.text for i in items]
        )
        samples = [
            new_sample(self._model, item, text, negative)
            for item, text, negative in zip(items, texts, negatives, strict=True)
        ]
        by_kind: dict[type[Condition], list[Sample]] = {}
        for sample in samples:
            by_kind.setdefault(type(sample.item.condition), []).append(sample)
        for kind, together in by_kind.items():
            kind.begin(self._model, together)
        return [
            _Running(ticket, sample, self._rows(sample), admitted)
            for ticket, sample in zip(tickets, samples, strict=True)
        ]

    def _rows(self, sample: Sample) -> list[Inputs]:
        constant = self._model.constant_inputs
        return [{**constant, **row} for row in sample.item.condition.rows(sample)]

    def _advance(self) -> None:
        inputs = self._inputs = self._inputs or self._stack()
        latents = torch.cat(
            [r.sample.scaled_latent().expand(len(r.rows), -1, -1, -1) for r in self._running]
        )
        times = torch.stack([r.sample.time.float() for r in self._running for _ in r.rows])
        predictions = self._model.predict(latents, times, inputs, fixed=self._fixed)
        parts = predictions.split([len(r.rows) for r in self._running])
        by_pace: dict[Hashable, list[tuple[Sample, Tensor]]] = {}
        for running, part in zip(self._running, parts, strict=True):
            sample = running.sample
            guided = sample.item.condition.combine(sample, part)
            by_pace.setdefault(sample.pace, []).append((sample, guided))
        for group in by_pace.values():
            step([sample for sample, _ in group], [guided for _, guided in group])

    def _stack(self) -> Inputs:
        rows = [row for running in self._running for row in running.rows]
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}

    def _finish(self, done: Sequence[_Running]) -> None:
        try:
            latents = torch.cat([running.sample.latent for running in done])
            images = self._model.autoencoder.decode(latents, fixed=self._fixed)
        except Exception as error:
            for running in done:
                fail(running.ticket, _named(error, len(done)))
            return
        now = time.monotonic()
        for running, image in zip(done, images, strict=True):
            ticket = running.ticket
            waited, computed = running.admitted - ticket.arrived, now - running.admitted
            try:
                made = Made(to_pixels(image), waited, computed)
            except Exception as error:
                fail(ticket, _named(error, len(done)))
            else:
                if ticket.future.set_running_or_notify_cancel():
                    ticket.future.set_result(made)

    def _drop(self, leaves: Callable[[_Running], bool]) -> None:
        staying = [running for running in self._running if not leaves(running)]
        if len(staying) < len(self._running):
            self._running, self._inputs = staying, None


def _named(error: BaseException, count: int) -> BaseException:
    return OutOfMemory(count) if isinstance(error, torch.OutOfMemoryError) else error


def fail(ticket: Ticket, error: BaseException) -> None:
    """Ends a ticket with an error, unless its caller gave up on it."""
    if not ticket.future.done() and ticket.future.set_running_or_notify_cancel():
        ticket.future.set_exception(error)
