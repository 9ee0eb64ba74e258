"""Objects of a store as files, of which no more is read than what is asked for."""

import hashlib
import io
from collections.abc import Iterator
from typing import Any

from servicekit.storage.base import ObjectStore

_CHUNK = 2**20


class ObjectFile(io.RawIOBase):
    """An object as a file to read, for readers that seek; each read is one of the store."""

    def __init__(self, store: ObjectStore, key: str) -> None:
        """Raises NotFound."""
        self._store, self._key = store, key
        self._size, self._place = store.size(key), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        begin = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = max(begin + offset, 0)
        return self._place

    def read(self, size: int | None = -1) -> bytes:
        """Returns as many bytes as are asked for, fewer at the end; all that are left for -1."""
        left = max(self._size - self._place, 0)
        count = left if size is None or size < 0 else min(size, left)
        data = self._store.read(self._key, self._place, count) if count else b""
        self._place += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def chunks_of(store: ObjectStore, key: str) -> Iterator[bytes]:
    """Yields the bytes of an object, a MiB at a time. Raises NotFound."""
    file = ObjectFile(store, key)
    while data := file.read(_CHUNK):
        yield data


def sha256_of_object(store: ObjectStore, key: str) -> str:
    """Returns the SHA-256 of an object, in hexadecimal, in bounded memory. Raises NotFound."""
    found = hashlib.sha256()
    for data in chunks_of(store, key):
        found.update(data)
    return found.hexdigest()
