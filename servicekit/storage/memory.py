"""An object store in memory."""

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator

from servicekit.storage.base import check_key, missing


class MemoryStore:
    """A store in memory, for tests of one class."""

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def put(self, key: str, data: bytes, *, overwrite: bool = False) -> bool:
        with self._lock:
            if check_key(key) in self._objects and not overwrite:
                return False
            self._objects[key] = bytes(data)
            return True

    def put_chunks(self, key: str, chunks: Callable[[], Iterable[bytes]]) -> None:
        self.put(key, b"".join(chunks()), overwrite=True)

    def get(self, key: str) -> bytes:
        try:
            return self._objects[check_key(key)]
        except KeyError:
            raise missing(key) from None

    def read(self, key: str, start: int, count: int) -> bytes:
        return self.get(key)[start : start + count]

    def exists(self, key: str) -> bool:
        return check_key(key) in self._objects

    def size(self, key: str) -> int:
        return len(self.get(key))

    def version(self, key: str) -> str:
        if key not in self._objects:
            raise missing(key)
        return hashlib.sha256(self._objects[key]).hexdigest()

    def list(self, prefix: str) -> Iterator[str]:
        yield from sorted(key for key in self._objects if key.startswith(prefix))

    def delete(self, key: str) -> None:
        self._objects.pop(check_key(key), None)

    def link(self, key: str, seconds: int) -> str:
        return ""
