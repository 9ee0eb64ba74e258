"""Reads the images that condition a call, each once however many items name it."""

import asyncio
import hashlib
from dataclasses import dataclass

from PIL import Image

from imaging.decode import ImageRejected, decode_image
from servicekit.errors import InvalidArgument
from servicekit.storage import ObjectStore, to_key


@dataclass(frozen=True, eq=False)
class SourceImage:
    """A decoded RGB image and the SHA-256 of its bytes, in hexadecimal."""

    image: Image.Image
    sha256: str


class Sources:
    """The images of one call."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._reads: dict[str, asyncio.Task[SourceImage]] = {}

    async def read(self, uri: str, field: str) -> SourceImage:
        """Returns the image. Raises NotFound, or InvalidArgument naming `field`."""
        key = to_key(uri, field)
        if key not in self._reads:
            self._reads[key] = asyncio.create_task(asyncio.to_thread(self._load, key))
        try:
            return await asyncio.shield(self._reads[key])
        except ImageRejected as error:
            raise InvalidArgument(
                error.message, field=field, reason=error.reason, metadata={"uri": uri}
            ) from error

    def _load(self, key: str) -> SourceImage:
        data = self._store.get(key)
        return SourceImage(decode_image(data, key), hashlib.sha256(data).hexdigest())
