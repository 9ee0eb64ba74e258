"""An image at its beginning: its draws, its first latent and what the U-Net is told of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from diffusion.embeddings import Inputs
from diffusion.noise import generator_of, normal
from generator.engine.conditions.base import Condition
from generator.engine.guidance import Push
from generator.engine.items import Item
from generator.engine.model import LoadedModel

C = TypeVar("C", bound=Condition)


@dataclass(eq=False)
class Sample:
    """An item on its way. Its condition's `begin` sets `latent` [1, c, h, w] and the inputs.

    Latents are float32, in whatever numbers the model computes. `scheduler` is the sample's own; it
    makes all its steps but the first `skipped`. `inputs` are those of every U-Net row besides the
    text, `unconditional` what is instead of them in the unconditional row.
    """

    item: Item
    generator: torch.Generator
    scheduler: Any
    text: Inputs
    negative: Inputs
    latent: Tensor
    skipped: int = 0
    inputs: Inputs = field(default_factory=dict)
    unconditional: Inputs = field(default_factory=dict)

    def condition(self, kind: type[C]) -> C:
        """Returns the item's condition, which is of this kind."""
        condition = self.item.condition
        if not isinstance(condition, kind):
            raise TypeError(f"the condition is {type(condition).__name__}, not {kind.__name__}")
        return condition

    @property
    def step_count(self) -> int:
        """The number of steps to its image."""
        return len(self.scheduler.timesteps) - self.skipped

    @property
    def pushes(self) -> Sequence[Push]:
        """How it is guided."""
        return self.item.condition.pushes(self)

    def draw_noise(self, model: LoadedModel) -> Tensor:
        """Draws the noise of a whole latent, [1, c, h, w], from the sample's generator."""
        shape = model.autoencoder.latent_shape
        return normal(shape, self.generator, model.device, torch.float32)

    def start_from_noise(self, noise: Tensor) -> None:
        """Begins at the first step with standard normal noise [1, c, h, w]."""
        self.latent = noise * self.scheduler.init_noise_sigma

    def start_from_latent(self, clean: Tensor, noise: Tensor, strength: float) -> None:
        """Begins part of the way: at a clean latent [1, c, h, w], noised for that time."""
        steps = self.item.steps
        # The margin is for strengths that travelled as float32: 0.7 of 30 steps are 21, not 20.
        run = min(steps, max(1, int(steps * strength + 1e-3)))
        self.skipped = (steps - run) * int(getattr(self.scheduler, "order", 1))
        if hasattr(self.scheduler, "set_begin_index"):
            self.scheduler.set_begin_index(self.skipped)
        times = self.scheduler.timesteps[self.skipped :]
        self.latent = self.scheduler.add_noise(clean, noise, times[:1])


def new_sample(model: LoadedModel, item: Item, text: Inputs, negative: Inputs) -> Sample:
    """Returns a sample at the start of its schedule; its latent is still to be drawn."""
    return Sample(
        item=item,
        generator=generator_of(item.seed),
        scheduler=model.schedules.of(item.steps),
        text=text,
        negative=negative,
        latent=torch.empty(0),
    )
