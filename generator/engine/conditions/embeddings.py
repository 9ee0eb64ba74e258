"""What conditions that hold embeddings have in common."""

import hashlib
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from PIL import Image

from diffusion.card import ModelCard
from diffusion.embeddings import FloatArray
from diffusion.encoders import Encoders, as_array
from diffusion.errors import BadCondition
from generator.engine.conditions.base import Condition, Reader

if TYPE_CHECKING:
    from generator.engine.model import LoadedModel
    from generator.engine.sample import Sample


@dataclass(frozen=True, eq=False)
class ImageEmbedding(Condition):
    """Conditions on an image embedding [d], or on an image that is embedded first.

    `sha256` stands for the image's file in the key, where the embedding is of one.
    """

    source: FloatArray | Image.Image
    sha256: str = field(default="", kw_only=True)

    @abstractmethod
    def options(self) -> dict[str, Any]:
        """Returns how the model uses the embedding, see `Family.embedding_inputs`."""

    def check(self, card: ModelCard) -> None:
        if isinstance(self.source, np.ndarray):
            shape, encoder = (card.image_dimension,), card.image_encoder
            check_embedding(f"image.{self.name}.embedding", self.source, shape, encoder, card.name)

    def source_identity(self) -> dict[str, Any]:
        """Returns what stands for the embedding in the key."""
        if isinstance(self.source, np.ndarray) and not self.sha256:
            return array_identity(self.source)
        return {"image": self.sha256}

    @classmethod
    def example(cls, card: ModelCard) -> Self:
        return cls(np.zeros(card.image_dimension, np.float32))

    @classmethod
    def encode(cls, conditions: Sequence[Self], encoders: Encoders) -> list[Self]:
        embeddings = encoders.images([condition.source for condition in conditions])
        return [
            replace(condition, source=as_array(embedding))
            for condition, embedding in zip(conditions, embeddings, strict=True)
        ]

    @classmethod
    def begin(cls, model: "LoadedModel", samples: Sequence["Sample"]) -> None:
        conditions = [sample.condition(cls) for sample in samples]
        embeddings = model.encoders.images([condition.source for condition in conditions])
        for sample, condition, embedding in zip(samples, conditions, embeddings, strict=True):
            sample.inputs, sample.unconditional = model.family.embedding_inputs(
                model.pipeline, embedding, sample.generator, **condition.options()
            )
            sample.start_from_noise(sample.draw_noise(model))


async def read_embedding(message: Any, field: str, reader: Reader) -> tuple[FloatArray, str]:
    """Returns the embedding that a message holds, or that of its image with the SHA-256 of it."""
    if message.WhichOneof("source") == "image_uri":
        return await reader.image_embedding(message.image_uri, f"{field}.image_uri")
    return reader.tensor(message.embedding, f"{field}.embedding"), ""


def check_embedding(
    field: str, values: FloatArray, shape: tuple[int, ...], encoder: str, model: str
) -> None:
    """Raises BadCondition unless `values` has the shape of the encoder and is finite."""
    if values.shape != shape:
        raise BadCondition(
            field,
            "WRONG_SHAPE",
            f"the embedding has the shape {list(values.shape)}; {encoder}, the encoder of model "
            f"{model!r}, makes {list(shape)}",
        )
    if not bool(np.isfinite(values).all()):
        raise BadCondition(
            field, "NOT_FINITE", "the embedding holds values that are NaN or infinite"
        )


def array_identity(values: FloatArray) -> dict[str, Any]:
    """Returns what stands for an array in the key of an image."""
    data = np.ascontiguousarray(values, dtype="<f4").tobytes()
    return {"embedding": hashlib.sha256(data).hexdigest(), "shape": list(values.shape)}
