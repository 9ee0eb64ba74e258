"""An image embedding beside the text (IP-Adapter)."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from diffusion.card import ModelCard
from diffusion.errors import BadCondition
from diffusion.families.base import SCALE
from generator.engine.conditions.base import Reader
from generator.engine.conditions.embeddings import ImageEmbedding, read_embedding


@dataclass(frozen=True, eq=False)
class Adapter(ImageEmbedding):
    """Conditions on an embedding that an adapter's own attentions read.

    `scale` weighs what they give beside what the attentions to the text give, above 0 and at most
    2.
    """

    scale: float = 1.0

    name = "adapter"
    uses = SCALE
    models = "models with an IP-Adapter, in their folder or among the artefacts of the call"

    @classmethod
    async def from_pb(cls, message: Any, field: str, reader: Reader) -> Self:
        source, sha256 = await read_embedding(message, field, reader)
        return cls(source, message.scale or 1.0, sha256=sha256)

    def check(self, card: ModelCard) -> None:
        if not 0 < self.scale <= 2:
            raise BadCondition(
                "image.adapter.scale", "OUT_OF_RANGE", "the scale is above 0 and at most 2"
            )
        super().check(card)

    def identity(self, *, is_guided: bool) -> dict[str, Any]:
        return {"adapter": self.source_identity(), "scale": float(np.float32(self.scale))}

    def options(self) -> dict[str, Any]:
        return {"scale": self.scale}


CONDITION = Adapter
