"""An image embedding, noised (Stable unCLIP; AUGCOND, section 3)."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from PIL import Image

from diffusion.card import Card
from diffusion.embeddings import FloatArray
from diffusion.encoders import Encoders, as_array
from diffusion.errors import BadCondition
from diffusion.families.base import IMAGE_EMBEDDING
from generator.engine.conditions.base import Condition, Reader
from generator.engine.conditions.embeddings import array_identity, check_embedding

if TYPE_CHECKING:
    from generator.engine.model import Model
    from generator.engine.sample import Sample


@dataclass(frozen=True, eq=False)
class Unclip(Condition):
    """Conditions on an image embedding [d], or on an image that is embedded first.

    `noise_level` is in steps of the model's own noising schedule, 0 to 999. `sha256` stands for the
    image's file in the key, where the embedding is of one.
    """

    source: FloatArray | Image.Image
    noise_level: int = 0
    sha256: str = field(default="", kw_only=True)

    name = "unclip"
    uses = IMAGE_EMBEDDING
    models = "models of mode 'unclip'"

    @classmethod
    async def from_pb(cls, message: Any, field: str, reader: Reader) -> Self:
        if message.WhichOneof("source") == "image_uri":
            uri = message.image_uri
            source, sha256 = await reader.image_embedding(uri, f"{field}.image_uri")
            return cls(source, message.noise_level, sha256=sha256)
        return cls(reader.tensor(message.embedding, f"{field}.embedding"), message.noise_level)

    @classmethod
    def example(cls, card: Card) -> Self:
        return cls(np.zeros(card.image_dimension, np.float32))

    def check(self, card: Card) -> None:
        if not 0 <= self.noise_level < 1000:
            raise BadCondition(
                "image.unclip.noise_level", "OUT_OF_RANGE", "the noise level is 0 to 999"
            )
        if isinstance(self.source, np.ndarray):
            shape, encoder = (card.image_dimension,), card.image_encoder
            check_embedding("image.unclip.embedding", self.source, shape, encoder, card.name)

    def identity(self, *, is_guided: bool) -> dict[str, Any]:
        what: dict[str, Any] = {"image": self.sha256}
        if isinstance(self.source, np.ndarray) and not self.sha256:
            what = array_identity(self.source)
        return {"unclip": what, "noise_level": self.noise_level}

    @classmethod
    def encode(cls, conditions: Sequence[Self], encoders: Encoders) -> list[Self]:
        embeddings = encoders.images([condition.source for condition in conditions])
        return [
            replace(condition, source=as_array(embedding))
            for condition, embedding in zip(conditions, embeddings, strict=True)
        ]

    @classmethod
    def begin(cls, model: "Model", samples: Sequence["Sample"]) -> None:
        conditions = [sample.condition(cls) for sample in samples]
        embeddings = model.encoders.images([condition.source for condition in conditions])
        for sample, condition, embedding in zip(samples, conditions, embeddings, strict=True):
            sample.inputs, sample.unconditional = model.family.noised_embedding(
                model.pipeline, embedding, condition.noise_level, sample.generator
            )
            sample.start_from_noise(sample.draw_noise(model))


CONDITION = Unclip
