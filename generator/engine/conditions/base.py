"""The shape that every condition has."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diffusion.card import ModelCard
from diffusion.embeddings import FloatArray, Inputs
from diffusion.encoders import Encoders
from generator.engine.guidance import Push

if TYPE_CHECKING:
    from generator.engine.model import LoadedModel
    from generator.engine.sample import Sample

Arrays = Mapping[str, NDArray[Any]]


class Reader(Protocol):
    """Reads for one model what the messages of a call name. Each image is decoded once a call.

    `field` is the path of the message's field, for errors.
    """

    async def picture(self, uri: str, field: str) -> tuple[Image.Image, str]:
        """Returns an image at the model's size, and the SHA-256 that stands for its file."""

    async def image_embedding(self, uri: str, field: str) -> tuple[FloatArray, str]:
        """Returns the embedding [d] of an image, and the SHA-256 that stands for its file."""

    async def embed(self, image: Image.Image) -> FloatArray:
        """Returns the embedding [d] of an image that is read already."""

    def tensor(self, message: Any, field: str) -> FloatArray:
        """Returns the embedding in a message. Raises InvalidArgument for another encoder's."""


class Condition(ABC):
    """One way to condition an image: a frozen dataclass with all that there is to know of it.

    `name` is that of the field in ImageCondition, "" where there is none. `uses` is the input of
    the model that it needs, see `ModelCard.accepts`, and `models` says in words which have it.
    """

    name: ClassVar[str]
    uses: ClassVar[str]
    models: ClassVar[str] = ""

    @classmethod
    @abstractmethod
    async def from_pb(cls, message: Any, field: str, reader: Reader) -> Self:
        """Returns the condition that a message describes, with its images read.

        This is the one place of the engine that knows the message.
        """

    @classmethod
    @abstractmethod
    def example(cls, card: ModelCard) -> Self:
        """Returns a condition that any model of its kind can use, for a probe."""

    @abstractmethod
    def check(self, card: ModelCard) -> None:
        """Raises BadCondition naming the field whose value the model cannot use."""

    @abstractmethod
    def identity(self, *, is_guided: bool) -> dict[str, Any] | None:
        """Returns what determines the image, in words and numbers, for its key.

        What is not read without guidance does not count.
        """

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Returns the fields as arrays: images, tensors, and numbers without dimensions."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return {name: np.asarray(value) for name, value in found.items() if name != "sha256"}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Returns the condition whose fields these are."""
        return cls(**{name: _field(values) for name, values in arrays.items()})

    @classmethod
    def encode(cls, conditions: Sequence[Self], encoders: Encoders) -> list[Self]:
        """Returns conditions whose images are encoded, or of the model's size where no encoder
        reads them."""
        return list(conditions)

    def unchanged(self, card: ModelCard) -> Image.Image | None:
        """Returns the image that is asked for where nothing is to be denoised."""
        return None

    @classmethod
    @abstractmethod
    def begin(cls, model: "LoadedModel", samples: Sequence["Sample"]) -> None:
        """Sets the latents and the inputs of new samples, encoding their images together."""

    def rows(self, sample: "Sample") -> list[Inputs]:
        """Returns the inputs of the U-Net's rows: the unconditional one first, if guided."""
        conditional = {**sample.text, **sample.inputs}
        if not sample.item.is_guided:
            return [conditional]
        return [{**sample.negative, **sample.inputs, **sample.unconditional}, conditional]

    def pushes(self, sample: "Sample") -> list[Push]:
        """Returns how the sample is guided, from its first row on: towards the condition."""
        return [Push(sample.item.guidance_scale, 1, 0)] if sample.item.is_guided else []


def _field(values: NDArray[Any]) -> Any:
    if not values.ndim:
        return values.item()
    # A copy: the memory of a request is taken back before its image is finished.
    return Image.fromarray(values.copy()) if values.dtype == np.uint8 else values.copy()
