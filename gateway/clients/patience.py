"""Asking again where that helps: a service that is away, loading or full."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TypeVar
from weakref import WeakKeyDictionary

import grpc

from gateway.clients.faults import as_ours, is_passing
from servicekit.errors import ServiceError
from servicekit.statuses import from_rpc_error

T = TypeVar("T")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0
# Shorter waits are not worth reporting.
SILENT_SECONDS = 5.0


class Waits:
    """What a piece of work waits for now: every patience that was asked for and not rewarded."""

    def __init__(self) -> None:
        # A patience that is over without a word, as that of a cancelled call, is forgotten.
        self._waiting: WeakKeyDictionary[Patience, tuple[float, str]] = WeakKeyDictionary()

    def begin(self, patience: "Patience", since: float, text: str) -> None:
        """Notes that `patience` waits since `since` (time.monotonic) for what `text` says."""
        self._waiting[patience] = since, text

    def end(self, patience: "Patience") -> None:
        """Notes that it waits no longer."""
        self._waiting.pop(patience, None)

    def text(self) -> str:
        """Returns what has been waited for longest, after SILENT_SECONDS; "" for nothing."""
        since, text = min(self._waiting.values(), default=(time.monotonic(), ""))
        return text if time.monotonic() - since >= SILENT_SECONDS else ""


_waits: ContextVar[Waits | None] = ContextVar("waits", default=None)


def note_waits(waits: Waits) -> None:
    """Lets `waits` know what this task, and those that it starts, waits for from now on."""
    _waits.set(waits)


class Patience:
    """Waits between attempts, as long as `service` asks for or ever longer, up to a limit.

    Any success restarts the limit. Whoever shows the work's progress is told (`note_waits`).
    """

    def __init__(self, seconds: float, service: str) -> None:
        self._seconds = seconds
        self._service = service
        self._waits = _waits.get()
        self.succeeded()

    def succeeded(self) -> None:
        """Starts the limit anew."""
        self._pause = _FIRST_PAUSE
        self._failing_since: float | None = None
        self._end_wait()

    async def wait_after(self, error: ServiceError) -> None:
        """Waits before the next attempt. Raises `error`, as `as_ours` sees it, if waiting does not
        help or is over."""
        now = time.monotonic()
        since = self._failing_since = self._failing_since or now
        if not is_passing(error) or now - since > self._seconds:
            self._end_wait()
            raise as_ours(error, self._service)
        if self._waits is not None:
            self._waits.begin(self, since, f"the {self._service}: {error.message}")
        asked_for = getattr(error, "retry_after", 0.0)
        try:
            await asyncio.sleep(max(self._pause, min(asked_for, _LONGEST_PAUSE)))
        except asyncio.CancelledError:
            self._end_wait()
            raise
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)

    def _end_wait(self) -> None:
        if self._waits is not None:
            self._waits.end(self)


async def patiently(call: Callable[[], Awaitable[T]], seconds: float, service: str) -> T:
    """Awaits `call()`, again and again while `service` is away or full, for `seconds`.

    Raises the ServiceError of the last attempt.
    """
    patience = Patience(seconds, service)
    while True:
        try:
            answer = await call()
        except grpc.aio.AioRpcError as error:
            await patience.wait_after(from_rpc_error(error))
        else:
            patience.succeeded()
            return answer
