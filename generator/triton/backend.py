"""The engine behind Triton, as a backend of the service: this process only encodes."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

import torch
from PIL import Image

from diffusion.card import ModelCard
from diffusion.embeddings import FloatArray, TextArrays
from diffusion.encoders import Encoders, as_array, as_arrays, load_encoders
from diffusion.errors import BrokenModel
from diffusion.registry import Registry
from generator.engine.checks import check_item, no_image_encoder
from generator.engine.conditions.base import Condition
from generator.engine.errors import QueueFull
from generator.engine.items import Item, Made
from generator.engine.probe import probe_item
from generator.settings import GeneratorSettings
from generator.triton.connection import TritonConnection, unavailable
from generator.triton.memory import Slots, slot_size
from generator.triton.signature import Arrays, Request, expectation, to_arrays
from servicekit.devices import find_device
from servicekit.errors import Exhausted, ServiceError
from servicekit.tracing import trace_headers

R = TypeVar("R")
_log = logging.getLogger(__name__)

# Callers whose images were finished together ask for the next ones together. Who is encoded alone
# reaches the engine a step before the others, and the engine's steps are never full again.
_COMPANY_SECONDS = 0.003


class TritonBackend:
    """Encodes prompts and images here and has Triton denoise. Thread-safe.

    Takes as many items at a time as the engine runs and queues; more are QueueFull.
    """

    def __init__(self, registry: Registry, settings: GeneratorSettings) -> None:
        if settings.threads:
            torch.set_num_threads(settings.threads)
        self._settings, self._engine = settings, settings.engine()
        self._kind = find_device(settings.device, "GENERATOR_DEVICE").type
        self.registry, self._encoders = _load_all(registry, settings)
        cards = list(self.registry.cards.values())
        shares = settings.shared_memory and cards
        slots = Slots(settings.max_batch, max(map(slot_size, cards))) if shares else None
        self._connection = TritonConnection(settings.triton, slots)
        self._encoding = ThreadPoolExecutor(1, "generator-encoding")
        self._room = settings.max_queue + settings.max_batch
        self._taken, self._lock = 0, threading.Lock()
        # Each with the trace that it is a part of, since they are sent in another thread.
        self._unsent: list[tuple[Item, Future[Made], Mapping[str, str]]] = []
        # Not known to work until the first probe says so.
        self._fault: ServiceError | None = unavailable(settings.triton, "not reached yet")
        with torch.inference_mode():
            probes = self._encoded([probe_item(cards)] if cards else [])
        self._probe_arrays = self._arrays(probes[0], is_urgent=True) if probes else {}

    @property
    def cards(self) -> Mapping[str, ModelCard]:
        """The models by name."""
        return self.registry.cards

    def card(self, name: str) -> ModelCard:
        """Returns a model. Raises UnknownModel or BrokenModel."""
        return self.registry.card(name)

    def signature(self, *, deterministic: bool) -> str:
        """Returns what besides item and model decides over an image's bits."""
        # Triton may run on another device than the encoders here.
        return f"{self._kind} and Triton/{self._engine.signature(deterministic=deterministic)}"

    @property
    def capacity(self) -> int:
        """Images that Triton's engine, which has the same settings, works on at once."""
        return self._engine.max_batch

    def submit_all(self, items: Sequence[Item]) -> list["Future[Made]"]:
        """Takes all items or none. Raises BadCondition, QueueFull, or Unavailable without Triton.

        Cancelling a future cancels its inference. The futures raise what the engine raises, and
        Unavailable if Triton fails meanwhile.
        """
        for item in items:
            check_item(item, self.card(item.model))
        if self._fault is not None:
            # It is raised for every call until Triton works, and must not collect their frames.
            raise self._fault.with_traceback(None)
        futures: list[Future[Made]] = self._take(len(items))
        headers = trace_headers()
        with self._lock:
            is_first = not self._unsent
            self._unsent += [(i, f, headers) for i, f in zip(items, futures, strict=True)]
        if is_first:
            self._encoding.submit(self._send)
        return futures

    def encode_prompts(self, model: str, prompts: Sequence[str]) -> "Future[list[TextArrays]]":
        """Returns what stands for each prompt. Raises UnknownModel, QueueFull."""
        encoders = self._encoders[self.card(model).name]
        return self._encode(lambda: [as_arrays(row) for row in encoders.texts(prompts)])

    def encode_images(
        self, model: str, images: Sequence[Image.Image]
    ) -> "Future[list[FloatArray]]":
        """Returns the embedding [d] of each image.

        Raises BadCondition if the model has no image encoder, UnknownModel, QueueFull.
        """
        card = self.card(model)
        if not card.image_encoder:
            raise no_image_encoder(card)
        encoders = self._encoders[card.name]
        return self._encode(lambda: [as_array(row) for row in encoders.images(images)])

    def workload(self) -> None:
        """Triton has it among its own metrics."""

    def is_healthy(self) -> bool:
        """Makes a real, small image. Where that fails, what is under way fails as well."""
        fault = self._probe()
        if fault is not None:
            if self._fault is None or self._fault.message != fault.message:
                _log.warning("%s", fault.message)
            self._connection.fail_all(fault)
        elif self._fault is not None:
            _log.info("Triton at %s works", self._settings.triton)
        self._fault = fault
        return fault is None

    def close(self) -> None:
        """Fails what waits and what runs."""
        self._encoding.shutdown()
        self._connection.close()

    def _take(self, count: int) -> list["Future[R]"]:
        with self._lock:
            if self._taken + count > self._room:
                raise QueueFull(self._taken, count, self._room)
            self._taken += count
        futures: list[Future[R]] = [Future() for _ in range(count)]
        for future in futures:
            future.add_done_callback(self._release)
        return futures

    def _release(self, future: "Future[R]") -> None:
        with self._lock:
            self._taken -= 1

    def _encode(self, compute: Callable[[], list[R]]) -> "Future[list[R]]":
        future: Future[list[R]]
        [future] = self._take(1)
        self._encoding.submit(_run, future, compute)
        return future

    @torch.inference_mode()
    def _send(self) -> None:
        """Encodes and sends all that came meanwhile: few full calls of the encoders."""
        self._await_company()
        with self._lock:
            unsent, self._unsent = self._unsent, []
        for name in dict.fromkeys(item.model for item, _, _ in unsent):
            waiting = [one for one in unsent if one[0].model == name and not one[1].cancelled()]
            try:
                arrays = [self._arrays(item) for item in self._encoded([i for i, _, _ in waiting])]
            except Exception as error:
                for _, future, _ in waiting:
                    _fail(future, error)
                continue
            for (_, future, headers), values in zip(waiting, arrays, strict=True):
                self._connection.infer(values, future, headers)

    def _await_company(self) -> None:
        """Waits while more items come, but not for more than the engine runs at a time."""
        seen = 0
        while seen < len(self._unsent) < self._settings.max_batch:
            seen = len(self._unsent)
            time.sleep(_COMPANY_SECONDS)

    def _encoded(self, items: Sequence[Item]) -> list[Item]:
        """Returns items of one model with encoded texts and conditions."""
        if not items:
            return []
        encoders = self._encoders[items[0].model]
        texts = encoders.texts([item.text for item in items])
        # Not read without guidance; the text stands in so that nothing is encoded in vain.
        negatives = encoders.texts([i.negative if i.is_guided else i.text for i in items])
        conditions = _encoded_conditions([item.condition for item in items], encoders)
        return [
            replace(item, text=as_arrays(text), negative=as_arrays(negative), condition=condition)
            for item, text, negative, condition in zip(
                items, texts, negatives, conditions, strict=True
            )
        ]

    def _arrays(self, item: Item, *, is_urgent: bool = False) -> Arrays:
        engine = self._engine.signature(deterministic=item.deterministic)
        expected = expectation(self.card(item.model).digest, engine)
        return to_arrays(Request(item, expected, is_urgent))

    def _probe(self) -> ServiceError | None:
        """Returns why images cannot be made; None if one was, be it for somebody else."""
        started = time.monotonic()
        future: Future[Made] = Future()
        try:
            if self._fault is not None:
                self._connection.prepare()
            self._connection.infer(self._probe_arrays, future)
            future.result(self._settings.probe_timeout_seconds)
        except TimeoutError:
            future.cancel()
            if self._connection.answered < started:
                seconds = self._settings.probe_timeout_seconds
                return unavailable(self._settings.triton, f"no answer within {seconds:g} s")
        except Exhausted:
            return None
        except ServiceError as error:
            # Whatever picture the probe makes, it was made.
            return None if error.reason == "BROKEN_IMAGE" else error
        return None


def _load_all(
    registry: Registry, settings: GeneratorSettings
) -> tuple[Registry, dict[str, Encoders]]:
    encoders: dict[str, Encoders] = {}
    refused = dict(registry.refused)
    for name, card in registry.cards.items():
        try:
            encoders[name] = load_encoders(card, settings.engine().placement())
        except BrokenModel as error:
            _log.warning("%s", error)
            refused[name] = error
    return Registry({name: e.card for name, e in encoders.items()}, refused), encoders


def _encoded_conditions(conditions: Sequence[Condition], encoders: Encoders) -> Sequence[Condition]:
    """Returns the conditions with their images encoded, those of a kind together."""
    encoded: dict[Condition, Condition] = {}
    kinds: dict[type[Condition], None] = dict.fromkeys(type(one) for one in conditions)
    for kind in kinds:
        own = [condition for condition in conditions if type(condition) is kind]
        encoded |= zip(own, kind.encode(own, encoders), strict=True)
    return [encoded[condition] for condition in conditions]


@torch.inference_mode()
def _run(future: "Future[list[R]]", compute: Callable[[], list[R]]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(compute())
    except Exception as error:
        future.set_exception(error)


def _fail(future: "Future[Made]", error: Exception) -> None:
    if future.set_running_or_notify_cancel():
        future.set_exception(error)
