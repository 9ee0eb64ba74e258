"""A group of samples that share U-Net calls, step by step.

Samples join at any step and leave when they are done, so mixed step counts and strengths keep the
calls full.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion.embeddings import Inputs
from diffusion.errors import BrokenImage
from diffusion.pixels import to_pixels
from generator.engine.batch import new_batch
from generator.engine.conditions.base import Condition
from generator.engine.errors import OutOfMemory
from generator.engine.guidance import Guidance
from generator.engine.items import Made
from generator.engine.line import Ticket
from generator.engine.model import LoadedModel
from generator.engine.sample import Sample, new_sample


@dataclass(eq=False)
class _Running:
    ticket: Ticket
    sample: Sample
    rows: list[Inputs]
    admitted: float
    steps_left: int


@dataclass(frozen=True, eq=False)
class _Call:
    """What a U-Net call is made of beside latents and times, while nobody joins or leaves.

    `sample` [rows] is the number of each row's sample.
    """

    sample: Tensor
    inputs: Inputs
    guidance: Guidance


class Denoising:
    """The samples of one model that are under way."""

    def __init__(self, model: LoadedModel, *, fixed: bool) -> None:
        self._model, self._fixed = model, fixed
        self._running: list[_Running] = []
        self._batch = new_batch(model)  # Of the same samples, in the same order.
        self._call: _Call | None = None

    def __len__(self) -> int:
        return len(self._running)

    def admit(self, tickets: Sequence[Ticket]) -> None:
        """Begins new samples together; if that fails one by one, so that an error is one item's."""
        if not tickets:
            return
        try:
            begun = self._begin(tickets)
            self._batch.join([running.sample for running in begun])
        except Exception as error:
            if len(tickets) == 1:
                fail(tickets[0], _named(error, 1))
                return
            for ticket in tickets:
                self.admit([ticket])
        else:
            self._running += begun
            self._call = None

    def step(self) -> None:
        """Makes one step of every sample, and finishes those that are done."""
        self._drop(lambda running: running.ticket.future.cancelled())
        if self._running:
            self._advance()
        if any(running.steps_left == 0 for running in self._running):
            # They stay among the running until each has its end, so that no error loses them.
            self._finish()
            self._drop(lambda running: running.steps_left == 0)

    def abandon(self, error: BaseException) -> None:
        """Fails everything that is under way."""
        error = _named(error, len(self._running))
        for running in self._running:
            fail(running.ticket, error)
        self._running, self._batch, self._call = [], new_batch(self._model), None

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
            _Running(ticket, sample, self._rows(sample), admitted, sample.step_count)
            for ticket, sample in zip(tickets, samples, strict=True)
        ]

    def _rows(self, sample: Sample) -> list[Inputs]:
        constant = self._model.constant_inputs
        return [{**constant, **row} for row in sample.item.condition.rows(sample)]

    def _advance(self) -> None:
        call = self._call = self._call or self._lay_out()
        latents, times = self._batch.questions()
        outputs = self._model.predict(
            latents[call.sample], times[call.sample], call.inputs, fixed=self._fixed
        )
        self._batch.move(call.guidance.combine(outputs))
        for running in self._running:
            running.steps_left -= 1

    def _lay_out(self) -> _Call:
        counts = [len(running.rows) for running in self._running]
        rows = [row for running in self._running for row in running.rows]
        numbers = [number for number, count in enumerate(counts) for _ in range(count)]
        pushes = [running.sample.pushes for running in self._running]
        return _Call(
            torch.tensor(numbers, device=self._model.device),
            {name: torch.stack([row[name] for row in rows]) for name in rows[0]},
            Guidance(counts, pushes, self._model.device),
        )

    def _finish(self) -> None:
        """Ends those without steps left, with their images or with an error."""
        done = [number for number, one in enumerate(self._running) if one.steps_left == 0]
        ended = [self._running[number] for number in done]
        try:
            latents = self._batch.latents(done)
            pictures = to_pixels(self._model.autoencoder.decode(latents, fixed=self._fixed))
        except Exception as error:
            for running in ended:
                fail(running.ticket, _named(error, len(done)))
            return
        now = time.monotonic()
        for running, picture in zip(ended, pictures, strict=True):
            ticket = running.ticket
            if isinstance(picture, BrokenImage):
                fail(ticket, picture)
            elif ticket.future.set_running_or_notify_cancel():
                waited, computed = running.admitted - ticket.arrived, now - running.admitted
                ticket.future.set_result(Made(picture, waited, computed))

    def _drop(self, leaves: Callable[[_Running], bool]) -> None:
        staying = [number for number, one in enumerate(self._running) if not leaves(one)]
        if len(staying) < len(self._running):
            self._batch.keep(staying)
            self._running = [self._running[number] for number in staying]
            self._call = None


def _named(error: BaseException, count: int) -> BaseException:
    return OutOfMemory(count) if isinstance(error, torch.OutOfMemoryError) else error


def fail(ticket: Ticket, error: BaseException) -> None:
    """Ends a ticket with an error, unless its caller gave up on it."""
    if not ticket.future.done() and ticket.future.set_running_or_notify_cancel():
        ticket.future.set_exception(error)
