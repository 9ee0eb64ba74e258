"""Reads the images that condition a call, each once however many items name it.

A picture of 50 megapixels is 150 MB once it is decoded, and a call may name 64: few are decoded at
a time, and what is kept of each is what the model takes, a picture of its own size or an embedding.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from PIL import Image

from imaging.decode import VERSION, ImageRejected, decode_image
from servicekit.errors import InvalidArgument
from servicekit.storage import ObjectStore, to_key

T = TypeVar("T")

# Groups of full-size images that are decoded at a time, in all calls together.
AT_ONCE = 2


@dataclass(frozen=True, eq=False)
class Source(Generic[T]):
    """What was made of an image, and the SHA-256 of its file and the decoder's version."""

    value: T
    sha256: str


class Sources(Generic[T]):
    """The images of one call, and what `make` makes of each. `room` bounds all calls together."""

    def __init__(
        self,
        store: ObjectStore,
        room: asyncio.Semaphore,
        make: Callable[[Image.Image], Awaitable[T]],
    ) -> None:
        self._store = store
        self._room = room
        self._make = make
        self._reads: dict[str, asyncio.Task[Source[T]]] = {}

    async def read(self, uri: str, field: str) -> Source[T]:
        """Returns what was made of the image. Raises NotFound, or InvalidArgument naming `field`,
        or what `make` raises."""
        key = to_key(uri, field)
        if key not in self._reads:
            self._reads[key] = asyncio.create_task(self._source(key))
        try:
            return await asyncio.shield(self._reads[key])
        except ImageRejected as error:
            raise _refusal(error, uri, field) from error

    async def _source(self, key: str) -> Source[T]:
        async with self._room:
            image, sha256 = await asyncio.to_thread(_decode, self._store, key)
            return Source(await self._make(image), sha256)


async def read_group(
    store: ObjectStore,
    room: asyncio.Semaphore,
    uris: Sequence[str],
    fields: Sequence[str],
    make: Callable[[list[Image.Image]], Awaitable[T]],
) -> T:
    """Returns what `make` makes of a few images together. Raises as `Sources.read` does."""
    keys = [to_key(uri, field) for uri, field in zip(uris, fields, strict=True)]
    async with room:
        images = []
        for key, uri, field in zip(keys, uris, fields, strict=True):
            try:
                image, _ = await asyncio.to_thread(_decode, store, key)
            except ImageRejected as error:
                raise _refusal(error, uri, field) from error
            images.append(image)
        return await make(images)


def _decode(store: ObjectStore, key: str) -> tuple[Image.Image, str]:
    data = store.get(key)
    # What is made of an image depends on its pixels: on its bytes and on how they are decoded.
    identity = hashlib.sha256(f"decoder {VERSION}\n".encode() + data).hexdigest()
    return decode_image(data, key), identity


def _refusal(error: ImageRejected, uri: str, field: str) -> InvalidArgument:
    return InvalidArgument(error.message, field=field, reason=error.reason, metadata={"uri": uri})
