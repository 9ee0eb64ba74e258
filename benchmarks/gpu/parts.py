"""Where the time of a batch goes: what the host does in a step, and decoding."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from benchmarks.gpu.work import seconds, synchronise
from generator.engine.denoising import Denoising
from generator.engine.items import Item
from generator.engine.line import Ticket
from generator.engine.model import LoadedModel

_FEW = 10


def step_seconds(model: LoadedModel, items: Sequence[Item]) -> tuple[float, float]:
    """Returns what the host spends on a step, and on a step whose U-Net costs nothing.

    The device is not waited for in a step, so that its own time is not in it as long as it has
    fewer operations to do than it takes into its queue.
    """
    whole = _host_seconds(model, items)
    with _replaced(model, "predict", lambda latents, *_, **__: latents):
        return whole, _host_seconds(model, items)


def decode_seconds(model: LoadedModel, items: Sequence[Item]) -> tuple[float, float]:
    """Returns how long decoding takes of making all items, and how long all takes."""
    spent = []
    decode = model.autoencoder.decode

    def timed(latents: Tensor, **options: Any) -> Tensor:
        images: list[Tensor] = []
        spent.append(seconds(model.device, lambda: images.append(decode(latents, **options))))
        return images[0]

    with _replaced(model.autoencoder, "decode", timed):
        whole = seconds(model.device, lambda: _make(model, items))
    return sum(spent), whole


def _host_seconds(model: LoadedModel, items: Sequence[Item]) -> float:
    """Returns the least seconds of steps in which nobody joins or leaves."""
    denoising = _begun(model, items)
    spent = []
    for _ in range(min(_FEW, items[0].steps) - 1):
        synchronise(model.device)
        began = time.perf_counter()
        denoising.step()
        spent.append(time.perf_counter() - began)
    denoising.abandon(RuntimeError("only some of its steps were wanted"))
    return min(spent[1:] or spent)


def _make(model: LoadedModel, items: Sequence[Item]) -> None:
    denoising = _begun(model, items)
    while len(denoising):
        denoising.step()


def _begun(model: LoadedModel, items: Sequence[Item]) -> Denoising:
    denoising = Denoising(model, fixed=False)
    denoising.admit([Ticket(item) for item in items])
    return denoising


@contextmanager
def _replaced(owner: Any, name: str, by: Callable[..., Any]) -> Iterator[None]:
    """Has an object another method of this name meanwhile."""
    setattr(owner, name, by)
    try:
        yield
    finally:
        delattr(owner, name)
