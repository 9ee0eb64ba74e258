"""The work of one operation in this process: its progress, its end, and how they are kept."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from google.longrunning import operations_pb2
from google.protobuf.message import Message

from servicekit.errors import Cancelled, ServiceError
from servicekit.statuses import to_status

_SAVE_EVERY_SECONDS = 1.0
_log = logging.getLogger(__name__)


class RunProgress:
    """Where running work reports its metadata."""

    def __init__(self) -> None:
        self.latest: Message | None = None

    def update(self, metadata: Message) -> None:
        """Publishes the metadata of the operation. Thread-safe, and takes no time."""
        self.latest = metadata


Work = Callable[[RunProgress], Awaitable[Message]]


class Run:
    """Runs `work` from now on. `write` keeps an operation; `forget` is called at the very end.

    Only this object's own task writes, one operation after the other, so what a thread of
    cancelled work still reports is dropped.
    """

    def __init__(
        self,
        name: str,
        service: str,
        work: Work,
        write: Callable[[operations_pb2.Operation], None],
        forget: Callable[["Run"], None],
    ) -> None:
        self.name = name
        self.is_cancelled = False
        self._service, self._write, self._forget = service, write, forget
        self._progress = RunProgress()
        self._saved: Message | None = None
        self._is_interrupted = False
        self._work = asyncio.create_task(_call(work, self._progress), name=name)
        self._task = asyncio.create_task(self._run(), name=f"run {name}")

    def shown(self, operation: operations_pb2.Operation) -> operations_pb2.Operation:
        """Returns the operation with what the work last reported, unless it is done."""
        if not operation.done and self._progress.latest is not None:
            operation.metadata.Pack(self._progress.latest)
        return operation

    def cancel(self) -> None:
        """Stops the work; the operation ends as cancelled, unless it has just ended otherwise."""
        self.is_cancelled = True
        self._work.cancel()

    def interrupt(self) -> None:
        """Stops the work; the operation stays open."""
        self._is_interrupted = True
        self._work.cancel()

    async def ended(self, seconds: float | None = None) -> None:
        """Waits until nothing more will be written, or for so many seconds."""
        await asyncio.wait({self._task}, timeout=seconds)

    async def _run(self) -> None:
        try:
            while not (await asyncio.wait({self._work}, timeout=_SAVE_EVERY_SECONDS))[0]:
                await self._save_progress()
            if self._work.cancelled() and self._is_interrupted:
                return
            operation = self._outcome()
            while not (await self._kept(operation) or self._is_interrupted):  # noqa: ASYNC110
                await asyncio.sleep(_SAVE_EVERY_SECONDS)
        finally:
            self._forget(self)

    async def _save_progress(self) -> None:
        latest = self._progress.latest
        if latest is not self._saved:
            operation = operations_pb2.Operation(name=self.name)
            operation.metadata.Pack(latest)
            if await self._kept(operation):
                self._saved = latest

    async def _kept(self, operation: operations_pb2.Operation) -> bool:
        """Says whether the operation could be written; the caller tries again."""
        try:
            await asyncio.to_thread(self._write, operation)
        except Exception as error:
            _log.warning("the state of %s cannot be kept: %s", self.name, error)
            return False
        return True

    def _outcome(self) -> operations_pb2.Operation:
        operation = operations_pb2.Operation(name=self.name, done=True)
        if self._work.cancelled():
            operation.error.CopyFrom(to_status(Cancelled("cancelled"), self._service))
        elif error := self._work.exception():
            if not isinstance(error, ServiceError):
                _log.error("%s failed", self.name, exc_info=error)
            operation.error.CopyFrom(to_status(error, self._service))
        else:
            operation.response.Pack(self._work.result())
        if self._progress.latest is not None:
            operation.metadata.Pack(self._progress.latest)
        return operation


def _call(work: Work, progress: RunProgress) -> Coroutine[Any, Any, Message]:
    async def call() -> Message:
        return await work(progress)

    return call()
