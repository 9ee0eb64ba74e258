"""An image embedding, noised (Stable unCLIP; AUGCOND, section 3)."""

from dataclasses import dataclass
from typing import Any, Self

from diffusion.card import ModelCard
from diffusion.errors import BadCondition
from diffusion.families.base import NOISE_LEVEL
from generator.engine.conditions.base import Reader
from generator.engine.conditions.embeddings import ImageEmbedding, read_embedding


@dataclass(frozen=True, eq=False)
class Unclip(ImageEmbedding):
    """Conditions on an embedding with noise.

    `noise_level` is in steps of the model's own noising schedule, 0 to 999.
    """

    noise_level: int = 0

    name = "unclip"
    uses = NOISE_LEVEL
    models = "models of mode 'unclip'"

    @classmethod
    async def from_pb(cls, message: Any, field: str, reader: Reader) -> Self:
        source, sha256 = await read_embedding(message, field, reader)
        return cls(source, message.noise_level, sha256=sha256)

    def check(self, card: ModelCard) -> None:
        if not 0 <= self.noise_level < 1000:
            raise BadCondition(
                "image.unclip.noise_level", "OUT_OF_RANGE", "the noise level is 0 to 999"
            )
        super().check(card)

    def identity(self, *, is_guided: bool) -> dict[str, Any]:
        return {"unclip": self.source_identity(), "noise_level": self.noise_level}

    def options(self) -> dict[str, Any]:
        return {"noise_level": self.noise_level}


CONDITION = Unclip
