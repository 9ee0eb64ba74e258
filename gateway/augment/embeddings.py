"""Embeddings of images: made once in canonical batches, kept in the store.

A batch is made of the same members in the same order for every caller, so its bits are the same on
every run, and what is made of it has the same keys.
"""

import asyncio
import io
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from gateway.clients.generator import IMAGES_PER_CALL
from gateway.context import Context
from gateway.datasets.manifest import DatasetItem
from gateway.digests import digest
from gateway.plan import GeneratorModel
from imaging.decode import VERSION as DECODER
from servicekit.storage import ObjectStore

Array = NDArray[np.float32]
Encode = Callable[[], Awaitable[Array]]


class Embeddings:
    """Reads embeddings of one model, making what is missing.

    Only the batches that hold what is asked for are read. The newest stay in memory, up to
    `memory_mib` of the settings, by the digest of their members.
    """

    def __init__(self, context: Context, model: GeneratorModel) -> None:
        self._context = context
        self._model = model
        self._memory: OrderedDict[str, Array] = OrderedDict()
        self._bytes = 0
        self._making: dict[str, asyncio.Lock] = {}

    async def of_images(self, images: Sequence[DatasetItem], rows: Sequence[int]) -> Array:
        """Returns [len(rows), d], one vector for each row of `images`, all images of a class."""
        encode = self._context.clients.generator.encode_images

        async def batch(first: int) -> Array:
            part = images[first : first + IMAGES_PER_CALL]
            uris = [image.image_uri for image in part]
            members = [image.sha256 for image in part]
            return await self._batch(members, lambda: encode(self._model.name, uris))

        return await _gathered(rows, IMAGES_PER_CALL, batch)

    async def _batch(self, members: list[str], encode: Encode) -> Array:
        """Returns the embeddings of a batch, from memory, store or generator."""
        model = self._model
        name = digest("embedding", "image", model.digest, model.engine, DECODER, members)
        if name not in self._memory:
            async with self._making.setdefault(name, asyncio.Lock()):
                if name not in self._memory:
                    self._remember(name, await self._read(name, encode))
            self._making.pop(name, None)
        if name in self._memory:
            self._memory.move_to_end(name)
            return self._memory[name]
        return await self._read(name, encode)  # Others have taken its place meanwhile.

    async def _read(self, name: str, encode: Encode) -> Array:
        store, key = self._context.store, f"embeddings/{name[:2]}/{name}.npy"
        found = await asyncio.to_thread(_load, store, key)
        if found is None:
            found = await encode()
            await asyncio.to_thread(_keep, store, key, found)
        return found

    def _remember(self, name: str, array: Array) -> None:
        self._memory[name] = array
        self._bytes += array.nbytes
        limit = self._context.settings.memory_mib * 2**20
        while self._bytes > limit and len(self._memory) > 1:
            _, oldest = self._memory.popitem(last=False)
            self._bytes -= oldest.nbytes


async def _gathered(
    rows: Sequence[int], size: int, batch: Callable[[int], Awaitable[Array]]
) -> Array:
    """Returns the rows, each from the batch of `size` members that it is in."""
    found: dict[int, Array] = {}
    for first in sorted({row // size * size for row in rows}):
        array = await batch(first)
        # A copy of what is needed, so that batches that are forgotten are freed.
        found |= {row: array[row - first].copy() for row in rows if row // size * size == first}
    return np.stack([found[row] for row in rows])


def _load(store: ObjectStore, key: str) -> Array | None:
    if not store.exists(key):
        return None
    return np.asarray(np.load(io.BytesIO(store.get(key)), allow_pickle=False), np.float32)


def _keep(store: ObjectStore, key: str, array: Array) -> None:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    store.put(key, buffer.getvalue())
