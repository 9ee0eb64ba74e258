"""What the messages of a call name, read for one model."""

import asyncio
from typing import Any

from PIL import Image

from diffusion.card import ModelCard
from diffusion.embeddings import FloatArray
from diffusion.pixels import fit
from generator import tensors
from generator.artefacts import TextArtefacts
from generator.backend import Backend
from generator.sources import Sources
from servicekit.storage import ObjectStore


class CallReader:
    """Reads images, embeddings and artefacts for one call.

    `room` bounds the reading of images of all calls together, and `artefacts` are theirs, too.
    """

    def __init__(
        self,
        card: ModelCard,
        backend: Backend,
        store: ObjectStore,
        room: asyncio.Semaphore,
        artefacts: TextArtefacts,
    ) -> None:
        self.card = card
        self.artefacts = artefacts
        self._backend = backend
        self._pictures = Sources(store, room, self._fit)
        self._embeddings = Sources(store, room, self.embed)

    async def picture(self, uri: str, field: str) -> tuple[Image.Image, str]:
        """Returns an image at the model's size, and the SHA-256 that stands for its file."""
        read = await self._pictures.read(uri, field)
        return read.value, read.sha256

    async def image_embedding(self, uri: str, field: str) -> tuple[FloatArray, str]:
        """Returns the embedding [d] of an image, and the SHA-256 that stands for its file."""
        read = await self._embeddings.read(uri, field)
        return read.value, read.sha256

    async def embed(self, image: Image.Image) -> FloatArray:
        """Returns the embedding [d] of an image that is read already."""
        [row] = await asyncio.wrap_future(self._backend.encode_images(self.card.name, [image]))
        return row

    def tensor(self, message: Any, field: str) -> FloatArray:
        """Returns the embedding in a message. Raises InvalidArgument for another encoder's."""
        return tensors.from_pb(message, field, self.card.image_encoder, self.card.name)

    async def _fit(self, image: Image.Image) -> Image.Image:
        return await asyncio.to_thread(fit, image, self.card.width, self.card.height)
