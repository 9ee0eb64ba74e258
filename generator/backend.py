"""What the service needs of whatever makes its images: the engine in process, or a server of it."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Protocol

from PIL import Image

from diffusion.card import ModelCard
from diffusion.embeddings import FloatArray, TextArrays
from diffusion.registry import Registry
from generator.engine.items import Item, Made
from servicekit.workload import Workload


class Backend(Protocol):
    """Makes images. Calls return at once; their futures can be cancelled.

    The errors are those of `diffusion.errors` and `generator.engine.errors`, or already those of
    the service.
    """

    @property
    def registry(self) -> Registry:
        """The models, and why others are not."""

    @property
    def cards(self) -> Mapping[str, ModelCard]:
        """The models by name."""

    def card(self, name: str) -> ModelCard:
        """Returns a model. Raises UnknownModel or BrokenModel."""

    def signature(self, *, deterministic: bool) -> str:
        """Returns what besides item and model decides over an image's bits."""

    @property
    def capacity(self) -> int:
        """Images that are worked on at once."""

    def submit_all(self, items: Sequence[Item]) -> list["Future[Made]"]:
        """Enqueues all items or none. Raises BadCondition, QueueFull or Unavailable."""

    def encode_prompts(self, model: str, prompts: Sequence[str]) -> "Future[list[TextArrays]]":
        """Returns what stands for each prompt."""

    def encode_images(
        self, model: str, images: Sequence[Image.Image]
    ) -> "Future[list[FloatArray]]":
        """Returns the embedding [d] of each image. Raises BadCondition without an encoder."""

    def workload(self) -> Workload | None:
        """Returns what there is to do now; None if a server makes the images and says so itself."""

    def is_healthy(self) -> bool:
        """Says whether images can be made now. Blocks; call it from a thread."""

    def close(self) -> None:
        """Fails what waits and runs, and releases the models."""
