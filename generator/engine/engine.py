"""The engine: one worker thread that owns the models and denoises what is submitted."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from itertools import chain
from typing import TypeVar

import numpy as np
import torch
from PIL import Image

from diffusion.card import ModelCard
from diffusion.embeddings import FloatArray, TextArrays
from diffusion.encoders import as_array, as_arrays
from diffusion.errors import BrokenImage, BrokenModel
from diffusion.registry import Registry
from generator.engine.changed_models import ChangedModels, Fetch
from generator.engine.checks import check_item, no_image_encoder
from generator.engine.denoising import Denoising, fail
from generator.engine.errors import EngineClosed, QueueFull, UnknownArtefact
from generator.engine.items import Item, Made
from generator.engine.line import Ticket, WaitingLine
from generator.engine.model import LoadedModel
from generator.engine.probe import probe_item
from generator.engine.settings import EngineSettings
from generator.engine.turns import Turns
from servicekit.devices import find_device
from servicekit.workload import Pace, Workload

R = TypeVar("R")
_log = logging.getLogger(__name__)
_DEFAULTS = EngineSettings()


def _no_artefact(uri: str) -> bytes:
    raise UnknownArtefact(uri)


class Engine:
    """Makes images. Thread-safe; every call returns a future and computes in the worker thread.

    Items of one model share U-Net calls, whatever their steps, strengths and guidance. A model
    whose weights do not load is refused by name; the others are served. `fetch` gets artefacts that
    change a model, in the worker thread when the first item with them is begun.
    """

    def __init__(
        self,
        registry: Registry,
        settings: EngineSettings = _DEFAULTS,
        fetch: Fetch = _no_artefact,
    ) -> None:
        if settings.threads:
            torch.set_num_threads(settings.threads)
        self.settings = settings
        self._kind = find_device(settings.device, "GENERATOR_DEVICE").type
        self.registry, self._models = _load_all(registry, settings)
        self._changed = ChangedModels(fetch, settings.max_unets)
        self.step_count = 0
        self._running_count, self._last_count, self._pace = 0, 0, Pace()
        self._line = WaitingLine(settings.max_queue, settings.max_wait_seconds)
        self._thread = threading.Thread(target=self._work, name="generator-engine", daemon=True)
        self._thread.start()

    @property
    def cards(self) -> Mapping[str, ModelCard]:
        """The models by name."""
        return self.registry.cards

    def card(self, name: str) -> ModelCard:
        """Returns a model. Raises UnknownModel naming the known ones, or BrokenModel."""
        return self.registry.card(name)

    def signature(self, *, deterministic: bool) -> str:
        """Returns what besides item and model decides over an image's bits."""
        return f"{self._kind}/{self.settings.signature(deterministic=deterministic)}"

    @property
    def capacity(self) -> int:
        """Images that are worked on at once."""
        return self.settings.max_batch

    def submit(self, item: Item) -> "Future[Made]":
        """Enqueues one item.

        Raises UnknownModel, BadCondition, QueueFull or EngineClosed at once; the future raises
        BrokenImage, OutOfMemory, UnknownArtefact or BadCondition of an artefact. Cancelling it
        drops the item, also in the middle of its steps.
        """
        return self.submit_all([item])[0]

    def submit_all(self, items: Sequence[Item]) -> list["Future[Made]"]:
        """Enqueues all items or none, so that they begin together. Raises as `submit` does."""
        for item in items:
            check_item(item, self.registry.card(item.model))
        tickets = [Ticket(item) for item in items]
        self._line.put([ticket for ticket in tickets if not self._is_there(ticket)])
        return [ticket.future for ticket in tickets]

    def _is_there(self, ticket: Ticket) -> bool:
        """Ends a ticket for which nothing is to be denoised, and says whether it was one."""
        item = ticket.item
        picture = item.condition.unchanged(self.registry.card(item.model))
        if picture is not None:
            ticket.future.set_result(Made(np.asarray(picture), 0.0, 0.0))
        return picture is not None

    def submit_urgent(self, item: Item) -> "Future[Made]":
        """Makes one item between two steps of what is under way. Raises as `submit` does.

        It is for short items that prove that the engine works, however full it is.
        """
        check_item(item, self.registry.card(item.model))

        def make() -> Made:
            ticket = Ticket(item)
            alone = Denoising(self._open_model(item), fixed=item.deterministic)
            alone.admit([ticket])
            while len(alone):
                alone.step()
            return ticket.future.result()

        return self._call(make)

    def encode_prompts(self, model: str, prompts: Sequence[str]) -> "Future[list[TextArrays]]":
        """Returns what stands for each prompt. Raises UnknownModel, QueueFull."""
        loaded = self._model(model)
        return self._call(lambda: [as_arrays(row) for row in loaded.encoders.texts(prompts)])

    def encode_images(
        self, model: str, images: Sequence[Image.Image]
    ) -> "Future[list[FloatArray]]":
        """Returns the embedding [d] of each image.

        Raises BadCondition if the model has no image encoder, UnknownModel, QueueFull.
        """
        loaded = self._model(model)
        if not loaded.card.image_encoder:
            raise no_image_encoder(loaded.card)
        return self._call(lambda: [as_array(row) for row in loaded.encoders.images(images)])

    def waiting_count(self) -> int:
        """Returns the number of items that wait."""
        return len(self._line)

    def workload(self) -> Workload:
        """Returns what there is to do now; what waits takes so many steps at the pace of late."""
        waiting, steps = self._line.waiting()
        running, last, most = self._running_count, self._last_count, self.settings.max_batch
        return Workload(waiting, running, last, most, steps * self._pace.seconds)

    def is_healthy(self) -> bool:
        """Makes a real, small image, between two steps of what is under way, and says if it could.

        Blocks for up to `probe_timeout_seconds` of the settings. Longer steps than that are well,
        too, as long as one ends meanwhile.
        """
        steps = self.step_count
        try:
            probe = self.submit_urgent(probe_item(list(self.cards.values())))
            probe.result(self.settings.probe_timeout_seconds)
        except (BrokenImage, QueueFull):  # Whatever picture the probe makes, it was made.
            return True
        except TimeoutError:
            probe.cancel()
            return self.step_count > steps
        except Exception as error:
            _log.warning("no image can be made: %s", error)
            return False
        return True

    def close(self) -> None:
        """Fails what waits and what runs, and ends the worker thread."""
        for ticket in self._line.close():
            fail(ticket, EngineClosed("the engine was shut down"))
        self._thread.join()

    def _model(self, name: str) -> LoadedModel:
        return self._models[self.registry.card(name).name]

    def _call(self, compute: Callable[[], R]) -> "Future[R]":
        future: Future[R] = Future()

        def job() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(compute())
            except BaseException as error:
                future.set_exception(error)

        self._line.put_job(job)
        return future

    @torch.inference_mode()
    def _work(self) -> None:
        settings = self.settings
        turns = Turns(self._open_model, most=settings.max_batch, max_unets=settings.max_unets)
        try:
            while not self._line.is_closed:
                self._turn(turns)
        except BaseException:
            _log.exception("the engine's worker ends")
        finally:  # Whatever ends the worker, nobody waits for it for ever.
            self._end(turns)

    def _turn(self, turns: Turns) -> None:
        """Does what waits between two steps, and makes one step."""
        jobs, tickets = self._line.take(turns.rooms(), self.settings.max_batch, turns.may_begin)
        began = time.monotonic()
        try:
            for job in jobs:
                job()
            for group, newcomers in tickets.items():
                turns.admit(group, newcomers)
        except BaseException:  # What was taken from the line and not begun is nobody else's.
            for ticket in chain(*tickets.values()):
                fail(ticket, EngineClosed("the engine was shut down"))
            raise
        self._running_count = len(turns)
        if moved := turns.step():
            self._pace.note(time.monotonic() - began, moved)
            self._last_count = moved
        self.step_count += moved
        self._running_count = len(turns)

    def _end(self, turns: Turns) -> None:
        error = EngineClosed("the engine was shut down")
        for ticket in self._line.close():
            fail(ticket, error)
        turns.abandon(error)
        for job in self._line.leftover_jobs():
            job()

    def _open_model(self, item: Item) -> LoadedModel:
        return self._changed.model(self._models[item.model], item.artefacts)


def _load_all(
    registry: Registry, settings: EngineSettings
) -> tuple[Registry, dict[str, LoadedModel]]:
    models: dict[str, LoadedModel] = {}
    refused = dict(registry.refused)
    for name, card in registry.cards.items():
        try:
            models[name] = LoadedModel(card, settings)
        except BrokenModel as error:
            _log.warning("%s", error)
            refused[name] = error
    return Registry({name: model.card for name, model in models.items()}, refused), models
