"""An object store in memory."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator

from servicekit.storage.base import Entry, check_key, missing


class MemoryStore:
    """A store in memory, for tests of one class."""

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}
        self._modified: dict[str, float] = {}
        self._lock = threading.Lock()

    def put(self, key: str, data: bytes, *, overwrite: bool = False) -> bool:
        with self._lock:
            is_new = overwrite or check_key(key) not in self._objects
            if is_new:
                self._objects[key] = bytes(data)
            self._modified[key] = time.time()
            return is_new

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

    def entries(self, prefix: str) -> Iterator[Entry]:
        with self._lock:
            found = [
                Entry(key, len(data), self._modified[key])
                for key, data in self._objects.items()
                if key.startswith(prefix)
            ]
        yield from found

    def renew(self, key: str) -> bool:
        with self._lock:
            if check_key(key) in self._objects:
                self._modified[key] = time.time()
            return key in self._objects

    def discard(self, key: str, before: float) -> bool:
        with self._lock:
            if check_key(key) not in self._objects or self._modified[key] >= before:
                return False
            del self._objects[key]
            return True

    def discard_halves(self, before: float, *, dry_run: bool) -> tuple[int, int]:
        return 0, 0

    def delete(self, key: str) -> None:
        self._objects.pop(check_key(key), None)

    def link(self, key: str, seconds: int) -> str:
        return ""
