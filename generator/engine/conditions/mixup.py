"""The embedding of a mix of two images' pixels (AUGCOND, section 3: MixUp)."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from PIL import Image

from diffusion.card import ModelCard
from diffusion.errors import BadCondition
from generator.engine.conditions.base import Reader
from generator.engine.conditions.pixel_mix import PixelMix


@dataclass(frozen=True, eq=False)
class MixUp(PixelMix):
    """Conditions on the embedding of share * first + (1 - share) * second, of pixels."""

    share: float = 0.5

    name = "mixup"

    @classmethod
    async def from_pb(cls, message: Any, field: str, reader: Reader) -> Self:
        def mix(first: Image.Image, second: Image.Image) -> Image.Image:
            return Image.blend(second, first, message.share)

        return await cls.read(message, field, reader, mix, share=message.share)

    def check(self, card: ModelCard) -> None:
        if not 0 <= self.share <= 1:
            raise BadCondition("image.mixup.share", "OUT_OF_RANGE", "the share is 0 to 1")
        super().check(card)

    def mix_identity(self) -> dict[str, Any]:
        return {"share": float(np.float32(self.share))}


CONDITION = MixUp
