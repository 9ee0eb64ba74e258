"""How far the fetching of a model is, in lines: it runs for hours, unattended."""

import threading
import time
from collections.abc import Callable

_EVERY_SECONDS = 10.0


class DownloadProgress:
    """Says `name: ...` through `told`. Thread-safe."""

    def __init__(self, name: str, told: Callable[[str], None]) -> None:
        self._name, self._told = name, told
        self._lock = threading.Lock()
        self._done = self._total = self.fetched = 0
        self._next = 0.0

    def say(self, text: str) -> None:
        """Says something about the model."""
        self._told(f"{self._name}: {text}")

    def begin(self, done: int, total: int) -> None:
        """Says how many of how many bytes are there before anything is fetched."""
        self._done, self._total = done, total
        self._next = time.monotonic() + _EVERY_SECONDS
        self.say(f"{_size(total - done)} to fetch" + (f", {_size(done)} are here" if done else ""))

    def add(self, count: int) -> None:
        """Counts bytes that came, and says so now and then."""
        with self._lock:
            self.fetched += count
            self._done += count
            if time.monotonic() < self._next:
                return
            self._next = time.monotonic() + _EVERY_SECONDS
        self.say(f"{_size(self._done)} of {_size(self._total)}")


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e7 else f"{count / 1e6:.2f} MB"
