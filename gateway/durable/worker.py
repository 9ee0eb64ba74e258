"""A thread for work that is Python's own."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


class Worker:
    """Runs functions one after the other in a thread of its own.

    More threads would compute no faster, since Python lets one at a time, and the event loop would
    wait for each of them in turn.
    """

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1)

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Returns what a function returns."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, partial(function, *arguments))
