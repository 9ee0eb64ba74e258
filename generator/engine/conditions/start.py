"""Image to image (SDEdit): a real image, noised part of the way and denoised again.

Without text and guidance it is Boomerang (BURG, section 3.2).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from PIL import Image

from diffusion.card import ModelCard
from diffusion.encoders import Encoders
from diffusion.errors import BadCondition
from diffusion.families.base import START
from diffusion.pixels import fit
from generator.engine.conditions.base import Condition, Reader
from generator.engine.conditions.pictures import grey

if TYPE_CHECKING:
    from generator.engine.model import LoadedModel
    from generator.engine.sample import Sample


@dataclass(frozen=True, eq=False)
class Start(Condition):
    """Begins at a noised real image instead of pure noise.

    `strength` is the share of the schedule that is run, 0 to 1; with 0 it is the image itself.
    `sha256` stands for the image's file in the key.
    """

    image: Image.Image
    strength: float
    sha256: str = field(default="", kw_only=True)

    name = "start"
    uses = START
    models = "models of mode 'text'"

    @classmethod
    async def from_pb(cls, message: Any, field: str, reader: Reader) -> Self:
        image, sha256 = await reader.picture(message.image_uri, f"{field}.image_uri")
        return cls(image, message.strength, sha256=sha256)

    @classmethod
    def example(cls, card: ModelCard) -> Self:
        return cls(grey(card), 1.0)

    def check(self, card: ModelCard) -> None:
        if not 0 <= self.strength <= 1:
            raise BadCondition("image.start.strength", "OUT_OF_RANGE", "the strength is 0 to 1")

    def unchanged(self, card: ModelCard) -> Image.Image | None:
        return None if self.strength else fit(self.image, card.width, card.height)

    def identity(self, *, is_guided: bool) -> dict[str, Any]:
        return {"start": self.sha256, "strength": float(np.float32(self.strength))}

    @classmethod
    def encode(cls, conditions: Sequence[Self], encoders: Encoders) -> list[Self]:
        size = (encoders.card.width, encoders.card.height)
        return [replace(one, image=fit(one.image, *size)) for one in conditions]

    @classmethod
    def begin(cls, model: "LoadedModel", samples: Sequence["Sample"]) -> None:
        starts = [sample.condition(cls) for sample in samples]
        posteriors = model.autoencoder.posteriors([start.image for start in starts])
        for sample, start, posterior in zip(samples, starts, posteriors, strict=True):
            clean = model.autoencoder.scaled(posterior.sample(sample.generator))
            sample.start_from_latent(clean, sample.draw_noise(model), start.strength)


CONDITION = Start
