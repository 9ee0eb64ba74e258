"""The state of one image between noise and pixels.

Every sample has a scheduler of its own, so samples at different steps of different schedules share
a U-Net call.
"""

import inspect
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from diffusion.embeddings import Inputs
from diffusion.noise import generator_of, normal
from generator.engine.conditions.base import Condition
from generator.engine.items import Item
from generator.engine.model import Model

C = TypeVar("C", bound=Condition)

# Schedulers whose step depends on its arguments alone. Others remember earlier steps of a sample.
_FORGETFUL = ("DDIMScheduler", "DDPMScheduler")


@dataclass(eq=False)
class Sample:
    """An item on its way. Its condition's `begin` sets `latent` [1, c, h, w] and the inputs.

    `inputs` are those of every U-Net row besides the text, `unconditional` what is instead of them
    in the unconditional row. `draws_noise` says whether the scheduler draws noise at every step.
    """

    item: Item
    generator: torch.Generator
    scheduler: Any
    times: list[Tensor]
    text: Inputs
    negative: Inputs
    latent: Tensor
    draws_noise: bool
    position: int = 0
    inputs: Inputs = field(default_factory=dict)
    unconditional: Inputs = field(default_factory=dict)

    def condition(self, kind: type[C]) -> C:
        """Returns the item's condition, which is of this kind."""
        condition = self.item.condition
        if not isinstance(condition, kind):
            raise TypeError(f"the condition is {type(condition).__name__}, not {kind.__name__}")
        return condition

    @property
    def pace(self) -> Hashable:
        """Samples of equal pace are moved by the same step."""
        if type(self.scheduler).__name__ not in _FORGETFUL:
            return id(self)
        return (self.item.steps, len(self.times) - self.position)

    @property
    def is_done(self) -> bool:
        """Says whether all steps were made."""
        return self.position >= len(self.times)

    @property
    def time(self) -> Tensor:
        """The time of the next step."""
        return self.times[self.position]

    def scaled_latent(self) -> Tensor:
        """Returns the latent as the U-Net wants it, [1, c, h, w]."""
        scaled: Tensor = self.scheduler.scale_model_input(self.latent, self.time)
        return scaled

    def draw_noise(self, model: Model) -> Tensor:
        """Draws the noise of a whole latent, [1, c, h, w], from the sample's generator."""
        return normal(model.autoencoder.latent_shape, self.generator, model.device, model.dtype)

    def start_from_noise(self, noise: Tensor) -> None:
        """Begins at the first step with standard normal noise [1, c, h, w]."""
        self.latent = noise * self.scheduler.init_noise_sigma

    def start_from_latent(self, clean: Tensor, noise: Tensor, strength: float) -> None:
        """Begins part of the way: at a clean latent [1, c, h, w], noised for that time."""
        steps = self.item.steps
        # The margin is for strengths that travelled as float32: 0.7 of 30 steps are 21, not 20.
        run = min(steps, max(1, int(steps * strength + 1e-3)))
        skipped = (steps - run) * int(getattr(self.scheduler, "order", 1))
        self.times = self.times[skipped:]
        if hasattr(self.scheduler, "set_begin_index"):
            self.scheduler.set_begin_index(skipped)
        self.latent = self.scheduler.add_noise(clean, noise, self.times[0][None])


def new_sample(model: Model, item: Item, text: Inputs, negative: Inputs) -> Sample:
    """Returns a sample at the start of its schedule; its latent is still to be drawn."""
    scheduler = model.schedules.of(item.steps)
    return Sample(
        item=item,
        generator=generator_of(item.seed),
        scheduler=scheduler,
        times=list(scheduler.timesteps),
        text=text,
        negative=negative,
        latent=torch.empty(0),
        draws_noise="generator" in inspect.signature(scheduler.step).parameters,
    )


def step(samples: Sequence[Sample], predictions: Sequence[Tensor]) -> None:
    """Moves samples of one pace one step on, by the U-Net's guided outputs [1, c, h, w]."""
    first = samples[0]
    # Each item's noise comes from its own generator.
    options = {"generator": [s.generator for s in samples]} if first.draws_noise else {}
    moved = first.scheduler.step(
        torch.cat(list(predictions)),
        first.time,
        torch.cat([sample.latent for sample in samples]),
        return_dict=False,
        **options,
    )
    for sample, latent in zip(samples, moved[0].split(1), strict=True):
        sample.latent = latent
        sample.position += 1
