"""The embedding of a mix of two images' pixels (AUGCOND, section 3: MixUp)."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from PIL import Image

from diffusion.card import Card
from diffusion.errors import BadCondition
from diffusion.families.base import IMAGE_EMBEDDING
from generator.engine.conditions.base import Reader
from generator.engine.conditions.embeddings import ImageEmbedding


@dataclass(frozen=True, eq=False)
class MixUp(ImageEmbedding):
    """Conditions on the embedding of share * first + (1 - share) * second, of pixels.

    Both are cropped to the model's size first. `source` is the mix, or its embedding; `sha256`
    stands for both files.
    """

    share: float = 0.5

    name = "mixup"
    uses = IMAGE_EMBEDDING
    models = "models of mode 'unclip' and those with an IP-Adapter in their folder"

    @classmethod
    async def from_pb(cls, message: Any, field: str, reader: Reader) -> Self:
        first, one = await reader.picture(message.first_image_uri, f"{field}.first_image_uri")
        second, other = await reader.picture(message.second_image_uri, f"{field}.second_image_uri")
        mixed = Image.blend(second, first, message.share)
        return cls(await reader.embed(mixed), message.share, sha256=f"{one} {other}")

    def check(self, card: Card) -> None:
        if not 0 <= self.share <= 1:
            raise BadCondition("image.mixup.share", "OUT_OF_RANGE", "the share is 0 to 1")
        super().check(card)

    def identity(self, *, is_guided: bool) -> dict[str, Any]:
        return {"mixup": self.source_identity(), "share": float(np.float32(self.share))}

    def options(self) -> dict[str, Any]:
        return {}


CONDITION = MixUp
