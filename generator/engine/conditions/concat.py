"""The latent of a real image beside the noisy one (InstructPix2Pix; MVC, section 3.3).

Guidance is of the text, with the image kept in both rows (MVC, Eq. 6); an image guidance scale
above 1 adds a third row without the image.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from PIL import Image

from diffusion.card import ModelCard
from diffusion.embeddings import Inputs
from diffusion.encoders import Encoders
from diffusion.families.base import CONCATENATED
from diffusion.pixels import fit
from generator.engine.conditions.base import Condition, Reader
from generator.engine.conditions.pictures import grey
from generator.engine.guidance import Push

if TYPE_CHECKING:
    from generator.engine.model import LoadedModel
    from generator.engine.sample import Sample


@dataclass(frozen=True, eq=False)
class Concat(Condition):
    """Concatenates the latent of a real image with the noisy latent.

    An `image_guidance_scale` above 1 also pushes towards the image, for a third U-Net row. `sha256`
    stands for the image's file in the key.
    """

    image: Image.Image
    image_guidance_scale: float = 1.0
    sha256: str = field(default="", kw_only=True)

    name = "concat"
    uses = CONCATENATED
    models = "models of mode 'pix2pix'"

    @classmethod
    async def from_pb(cls, message: Any, field: str, reader: Reader) -> Self:
        image, sha256 = await reader.picture(message.image_uri, f"{field}.image_uri")
        scale = message.image_guidance_scale if message.image_guidance_scale > 0 else 1.0
        return cls(image, scale, sha256=sha256)

    @classmethod
    def example(cls, card: ModelCard) -> Self:
        return cls(grey(card))

    def check(self, card: ModelCard) -> None:
        """Any scale can be used."""

    def identity(self, *, is_guided: bool) -> dict[str, Any]:
        used = self.image_guidance_scale if is_guided else 1.0
        return {"concat": self.sha256, "scale": float(np.float32(used))}

    @classmethod
    def encode(cls, conditions: Sequence[Self], encoders: Encoders) -> list[Self]:
        size = (encoders.card.width, encoders.card.height)
        return [replace(one, image=fit(one.image, *size)) for one in conditions]

    @classmethod
    def begin(cls, model: "LoadedModel", samples: Sequence["Sample"]) -> None:
        images = [sample.condition(cls).image for sample in samples]
        for sample, posterior in zip(samples, model.autoencoder.posteriors(images), strict=True):
            # As in InstructPix2Pix the mode of the posterior, and not scaled.
            latent = posterior.mode()[0].to(model.dtype)
            sample.inputs = {CONCATENATED: latent}
            sample.start_from_noise(sample.draw_noise(model))

    def rows(self, sample: "Sample") -> list[Inputs]:
        rows = super().rows(sample)
        if self._is_pushed(sample):
            latent = sample.inputs[CONCATENATED]
            rows.append({**sample.negative, CONCATENATED: torch.zeros_like(latent)})
        return rows

    def pushes(self, sample: "Sample") -> list[Push]:
        pushes = super().pushes(sample)
        if self._is_pushed(sample):  # From the row without the image to the one with it alone.
            pushes.append(Push(self.image_guidance_scale - 1, 0, 2))
        return pushes

    def _is_pushed(self, sample: "Sample") -> bool:
        return sample.item.is_guided and self.image_guidance_scale > 1


CONDITION = Concat
