"""Asking again where that helps: a service that is away, loading or full."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import grpc

from servicekit.errors import (
    DeadlineExceeded,
    Exhausted,
    ServiceError,
    Unavailable,
    from_rpc_error,
)

T = TypeVar("T")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0


def is_passing(error: ServiceError) -> bool:
    """Says whether the same call may work later."""
    return isinstance(error, Exhausted | Unavailable | DeadlineExceeded)


class Patience:
    """Waits between attempts, as long as the service asks for or ever longer, up to a limit.

    Any success starts the limit anew.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.succeeded()

    def succeeded(self) -> None:
        """Starts the limit anew."""
        self._pause = _FIRST_PAUSE
        self._failing_since: float | None = None

    async def wait_after(self, error: ServiceError) -> None:
        """Waits before the next attempt. Raises `error` if waiting does not help or is over."""
        now = time.monotonic()
        since = self._failing_since = self._failing_since or now
        if not is_passing(error) or now - since > self._seconds:
            raise error
        asked_for = getattr(error, "retry_after", 0.0)
        await asyncio.sleep(max(self._pause, min(asked_for, _LONGEST_PAUSE)))
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)


async def patiently(call: Callable[[], Awaitable[T]], seconds: float) -> T:
    """Awaits `call()`, again and again while the service is away or full, for `seconds`.

    Raises the ServiceError of the last attempt.
    """
    patience = Patience(seconds)
    while True:
        try:
            return await call()
        except grpc.aio.AioRpcError as error:
            await patience.wait_after(from_rpc_error(error))
