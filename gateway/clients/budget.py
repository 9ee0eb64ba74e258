"""A bound on what is in flight, counted in items."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Budget:
    """Lets callers in while the sum of their sizes stays within `limit`; a lone one always."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def take(self, size: int) -> AsyncIterator[None]:
        """Holds `size` while the block runs; waits for room first."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: self._used == 0 or self._used + size <= self._limit
            )
            self._used += size
        try:
            yield
        finally:
            async with self._changed:
                self._used -= size
                self._changed.notify_all()
