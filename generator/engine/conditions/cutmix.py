"""The embedding of an image with a box of another in it (AUGCOND, section 3: CutMix)."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from PIL import Image

from diffusion.card import ModelCard
from diffusion.errors import BadCondition
from generator.engine.conditions.base import Reader
from generator.engine.conditions.pixel_mix import PixelMix

_SIDES = ("left", "top", "right", "bottom")


@dataclass(frozen=True, eq=False)
class CutMix(PixelMix):
    """Conditions on the embedding of the first image with a box of the second in its place.

    The sides of the box are shares of width and height, 0 to 1, and are rounded to pixels; an
    empty box leaves the first image as it is.
    """

    left: float = 0.0
    top: float = 0.0
    right: float = 0.0
    bottom: float = 0.0

    name = "cutmix"

    @classmethod
    async def from_pb(cls, message: Any, field: str, reader: Reader) -> Self:
        sides = {side: getattr(message, side) for side in _SIDES}

        def mix(first: Image.Image, second: Image.Image) -> Image.Image:
            return cut(first, second, **sides)

        return await cls.read(message, field, reader, mix, **sides)

    def check(self, card: ModelCard) -> None:
        if not (0 <= self.left <= self.right <= 1 and 0 <= self.top <= self.bottom <= 1):
            raise BadCondition(
                "image.cutmix",
                "OUT_OF_RANGE",
                "the sides of the box are 0 to 1, left at most right and top at most bottom",
            )
        super().check(card)

    def mix_identity(self) -> dict[str, Any]:
        return {"box": [float(np.float32(getattr(self, side))) for side in _SIDES]}


def cut(
    first: Image.Image,
    second: Image.Image,
    *,
    left: float,
    top: float,
    right: float,
    bottom: float,
) -> Image.Image:
    """Returns the first image with a box of the second, which has its size, in its place."""
    width, height = first.size
    box = (round(left * width), round(top * height), round(right * width), round(bottom * height))
    mixed = first.copy()
    if box[0] < box[2] and box[1] < box[3]:  # A box that is not one is refused by the check.
        mixed.paste(second.crop(box), box[:2])
    return mixed


CONDITION = CutMix
