"""Embeddings of captions and images: made once in canonical batches, kept in the store.

A batch is made of the same members in the same order whoever asks, so its bits are the same on
every run, and what is made of it has the same keys.
"""

import asyncio
import io
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from gateway.clients.generator import IMAGES_PER_CALL, PROMPTS_PER_CALL
from gateway.datasets.manifest import DatasetItem
from gateway.digests import digest
from gateway.plan import ModelInfo
from gateway.run.context import Context
from imaging.decode import VERSION as DECODER

Array = NDArray[np.float32]


class Embeddings:
    """Reads embeddings of one model, making what is missing. Keeps the newest in memory."""

    def __init__(self, context: Context, model: ModelInfo) -> None:
        self._context = context
        self._model = model
        self._memory: OrderedDict[str, Array] = OrderedDict()
        self._making: dict[str, asyncio.Lock] = {}

    async def of_texts(self, texts: Sequence[str]) -> Array:
        """Returns [n, m, d], one matrix per text, in order."""
        encode = self._context.clients.generator.encode_prompts
        name = self._model.name
        return await self._all(
            "text", texts, PROMPTS_PER_CALL, lambda part: encode(name, list(part))
        )

    async def of_images(self, images: Sequence[DatasetItem]) -> Array:
        """Returns [n, d], one vector per image, in order."""
        encode = self._context.clients.generator.encode_images
        name, uris = self._model.name, {image.sha256: image.image_uri for image in images}
        return await self._all(
            "image",
            [image.sha256 for image in images],
            IMAGES_PER_CALL,
            lambda part: encode(name, [uris[sha256] for sha256 in part]),
        )

    async def _all(
        self,
        kind: str,
        members: Sequence[str],
        size: int,
        encode: Callable[[Sequence[str]], Awaitable[Array]],
    ) -> Array:
        """Returns the embeddings of a class as one array, from memory, store or generator."""
        decoder = [DECODER] if kind == "image" else []
        key = digest(kind, self._model.digest, list(members), *decoder)
        async with self._making.setdefault(key, asyncio.Lock()):
            if key not in self._memory:
                parts = [members[i : i + size] for i in range(0, len(members), size)]
                arrays = [await self._part(kind, part, encode) for part in parts]
                self._memory[key] = np.concatenate(arrays)
            self._memory.move_to_end(key)
            self._forget()
            return self._memory[key]

    async def _part(
        self,
        kind: str,
        members: Sequence[str],
        encode: Callable[[Sequence[str]], Awaitable[Array]],
    ) -> Array:
        store = self._context.store
        name = digest("embedding", kind, self._model.digest, list(members))
        key = f"embeddings/{name[:2]}/{name}.npy"
        if await asyncio.to_thread(store.exists, key):
            data = await asyncio.to_thread(store.get, key)
            return np.asarray(np.load(io.BytesIO(data), allow_pickle=False), np.float32)
        array = await encode(members)
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        await asyncio.to_thread(store.put, key, buffer.getvalue())
        return array

    def _forget(self) -> None:
        limit = self._context.settings.memory_mib * 2**20
        while len(self._memory) > 1 and sum(a.nbytes for a in self._memory.values()) > limit:
            self._memory.popitem(last=False)
