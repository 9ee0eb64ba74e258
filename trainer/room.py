"""Room in the cache of images, promised to runs before they fetch anything."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from math import ceil

from servicekit.errors import Precondition


class Room:
    """At most `max_bytes` of entries are promised at once; runs that share an entry share its room.

    For one event loop.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes: dict[str, int] = {}
        self._users: Counter[str] = Counter()
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()

    def check(self, entries: Mapping[str, int]) -> None:
        """Raises Precondition for entries (bytes by name) that cannot lie in the cache together."""
        needed = sum(entries.values())
        if needed > self._max_bytes:
            raise Precondition(
                f"the images of this run take {_gigabytes(needed)} GB, and the trainer's "
                f"cache holds {self._max_bytes / 1e9:g} GB; set TRAINER_CACHE_GIGABYTES to "
                f"{_gigabytes(needed)} or more where the disk of TRAINER_SCRATCH has that, or use "
                "a smaller image_size",
                subject="TRAINER_CACHE_GIGABYTES",
                reason="CACHE_TOO_SMALL",
            )

    @asynccontextmanager
    async def promised(self, entries: Mapping[str, int]) -> AsyncIterator[None]:
        """Waits, in order of arrival, until the entries fit beside those of other runs."""
        self.check(entries)
        async with self._turn:
            while not self._fits(entries):
                self._changed.clear()
                await self._changed.wait()
            self._bytes |= entries
            self._users.update(entries.keys())
        try:
            yield
        finally:
            self._users.subtract(entries.keys())
            self._bytes = {name: size for name, size in self._bytes.items() if self._users[name]}
            self._changed.set()

    def _fits(self, entries: Mapping[str, int]) -> bool:
        return sum({**self._bytes, **entries}.values()) <= self._max_bytes


def _gigabytes(count: int) -> str:
    """Rounded up to hundredths, so that this much is enough."""
    return f"{ceil(count / 1e7) / 100:g}"
