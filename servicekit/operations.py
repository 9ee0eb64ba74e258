"""google.longrunning.Operations over an object store.

The state of an operation is an object, so it outlives the process. Work that was interrupted by
the death of its process starts again when the same request is made again; it finds what it had
finished in the store. Until then its operation is not done; cancelling it ends it.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable
from typing import Any

import grpc
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from servicekit.errors import AlreadyExists, Cancelled, InvalidArgument, NotFound, Precondition
from servicekit.runs import Run, RunProgress, Work
from servicekit.statuses import to_status
from servicekit.storage import ObjectStore

# The one filter of ListOperations.
_UNDONE = "done=false"
_PAGE_SIZE, _LARGEST_PAGE = 100, 1000
_POLL_SECONDS = 0.2
_CLOSING_SECONDS = 3.0
# Kept from the caller's deadline, so that the answer arrives before it.
_MARGIN_SECONDS = 0.2

__all__ = ["OperationRunner", "OperationsServicer", "RunProgress", "Work", "wait_for"]


class OperationRunner:
    """Runs operations of one service and keeps their state under `operations/SERVICE/`."""

    def __init__(self, store: ObjectStore, service: str) -> None:
        self._store = store
        self._service = service
        self._runs: dict[str, Run] = {}
        self._changing = asyncio.Lock()

    async def start(
        self, operation_id: str, request: Message, work: Work
    ) -> operations_pb2.Operation:
        """Starts `work`, or answers the operation that the same id and request started before.

        A finished operation is answered as it is, unless it failed: then it is tried again.
        Raises AlreadyExists if the id belongs to another request.
        """
        name = f"operations/{self._service}-{operation_id}"
        digest = hashlib.sha256(request.SerializeToString(deterministic=True)).hexdigest()
        while True:
            async with self._changing:
                run = self._runs.get(name)
                if run is None or not run.is_cancelled:
                    await self._claim(name, digest)
                    return await self._begun(name, run, work)
            await run.ended()  # Not within the lock, which is that of all operations.

    async def _begun(self, name: str, run: Run | None, work: Work) -> operations_pb2.Operation:
        known = await asyncio.to_thread(self._read, name)
        if known is not None:
            if run is not None:
                return run.shown(known)
            if known.done and not known.HasField("error"):
                return known
        operation = operations_pb2.Operation(name=name)
        await asyncio.to_thread(self._write, operation)
        self._runs[name] = Run(name, self._service, work, self._write, self._forget)
        return operation

    async def get(self, name: str) -> operations_pb2.Operation:
        """Returns the operation. Raises NotFound."""
        run = self._runs.get(name)
        operation = await asyncio.to_thread(self._read, name)
        if operation is None:
            raise NotFound(
                f"there is no operation {name!r}", resource=name, reason="OPERATION_NOT_FOUND"
            )
        return operation if run is None else run.shown(operation)

    async def page(
        self, after: str, size: int, *, undone: bool = False
    ) -> tuple[list[operations_pb2.Operation], bool]:
        """Returns up to `size` operations with names after `after`, and whether there are more.

        With `undone`, of those that are not done.
        """
        rest = [name for name in await asyncio.to_thread(self._names) if name > after]
        found: list[operations_pb2.Operation] = []
        for name in rest:
            if len(found) == size:
                return found, True
            operation = await asyncio.to_thread(self._read, name)
            if operation is not None and not (undone and operation.done):
                found.append(operation)
        return found, False

    async def cancel(self, name: str) -> None:
        """Stops the work; what it had finished stays.

        Also ends the operation of work that was interrupted by the death of its process.
        """
        async with self._changing:
            operation = await self.get(name)
            if run := self._runs.get(name):
                run.cancel()
            elif not operation.done:
                operation.error.CopyFrom(to_status(Cancelled("cancelled"), self._service))
                operation.done = True
                await asyncio.to_thread(self._write, operation)

    async def delete(self, name: str) -> None:
        """Forgets a finished operation. Its result stays. Raises Precondition while it runs."""
        async with self._changing:
            if name in self._runs or not (await self.get(name)).done:
                raise Precondition(
                    f"{name} is not done; cancel it first, or wait for it",
                    subject=name,
                    reason="OPERATION_RUNNING",
                )
            await asyncio.to_thread(self._store.delete, self._key(name))

    async def close(self) -> None:
        """Interrupts all work; the same requests go on with it later.

        A write that hangs is not waited for longer than a process that ends has.
        """
        runs = list(self._runs.values())
        for run in runs:
            run.interrupt()
        for run in runs:
            await run.ended(_CLOSING_SECONDS)

    async def _claim(self, name: str, digest: str) -> None:
        key = self._key(name).removesuffix(".pb") + ".request"
        if await asyncio.to_thread(self._store.put, key, digest.encode()):
            return
        if (await asyncio.to_thread(self._store.get, key)).decode() != digest:
            raise AlreadyExists(
                f"{name.removeprefix('operations/')} exists with another request; choose another "
                "id or repeat the request that it was made for",
                resource=name,
                reason="DIFFERENT_REQUEST",
            )

    def _forget(self, run: Run) -> None:
        if self._runs.get(run.name) is run:
            del self._runs[run.name]

    def _key(self, name: str) -> str:
        return f"operations/{self._service}/{name.removeprefix('operations/')}.pb"

    def _names(self) -> list[str]:
        prefix = f"operations/{self._service}/"
        keys = (key for key in self._store.list(prefix) if key.endswith(".pb"))
        return sorted(f"operations/{key.removeprefix(prefix).removesuffix('.pb')}" for key in keys)

    def _read(self, name: str) -> operations_pb2.Operation | None:
        """Returns the operation; None for a name that none has, whatever is wrong with it."""
        try:
            data = self._store.get(self._key(name))
        except (NotFound, InvalidArgument):
            return None
        operation = operations_pb2.Operation.FromString(data)
        return operation if operation.name == name else None

    def _write(self, operation: operations_pb2.Operation) -> None:
        self._store.put(self._key(operation.name), operation.SerializeToString(), overwrite=True)


class OperationsServicer(operations_pb2_grpc.OperationsServicer):
    """Serves google.longrunning.Operations. The runner may be any object with its methods."""

    def __init__(self, runner: Any) -> None:
        self._runner = runner

    async def GetOperation(
        self, request: operations_pb2.GetOperationRequest, context: grpc.aio.ServicerContext
    ) -> operations_pb2.Operation:
        return await self._runner.get(request.name)

    async def ListOperations(
        self, request: operations_pb2.ListOperationsRequest, context: grpc.aio.ServicerContext
    ) -> operations_pb2.ListOperationsResponse:
        undone = request.filter.replace(" ", "") == _UNDONE
        if (request.filter and not undone) or request.name not in ("", "operations"):
            raise InvalidArgument(
                "operations are listed all together: leave name empty, and filter, too, or say "
                f"{_UNDONE}",
                field="name" if undone or not request.filter else "filter",
            )
        if request.page_size < 0:
            raise InvalidArgument(
                f"page_size is {request.page_size}; use 1 to {_LARGEST_PAGE}, or 0 for "
                f"{_PAGE_SIZE}",
                field="page_size",
                reason="FIELD_OUT_OF_RANGE",
            )
        size = min(request.page_size or _PAGE_SIZE, _LARGEST_PAGE)
        page, more = await self._runner.page(request.page_token, size, undone=undone)
        return operations_pb2.ListOperationsResponse(
            operations=page, next_page_token=page[-1].name if more and page else ""
        )

    async def CancelOperation(
        self, request: operations_pb2.CancelOperationRequest, context: grpc.aio.ServicerContext
    ) -> Empty:
        await self._runner.cancel(request.name)
        return Empty()

    async def DeleteOperation(
        self, request: operations_pb2.DeleteOperationRequest, context: grpc.aio.ServicerContext
    ) -> Empty:
        await self._runner.delete(request.name)
        return Empty()

    async def WaitOperation(
        self, request: operations_pb2.WaitOperationRequest, context: grpc.aio.ServicerContext
    ) -> operations_pb2.Operation:
        limits = [context.time_remaining() - _MARGIN_SECONDS]
        if request.HasField("timeout"):  # Any number of seconds, more than a timedelta holds.
            limits.append(request.timeout.seconds + request.timeout.nanos / 1e9)
        if limits[-1] < 0 < len(limits) - 1:
            raise InvalidArgument(
                f"timeout is {limits[-1]} s; use 0 or more",
                field="timeout",
                reason="FIELD_OUT_OF_RANGE",
            )
        deadline = time.monotonic() + min(limits)
        operation = await self._runner.get(request.name)
        while not operation.done and time.monotonic() < deadline:
            await asyncio.sleep(min(_POLL_SECONDS, max(deadline - time.monotonic(), 0)))
            operation = await self._runner.get(request.name)
        return operation


async def wait_for(
    stub: operations_pb2_grpc.OperationsStub,
    name: str,
    timeout: float | None = None,
    on_progress: Callable[[operations_pb2.Operation], None] | None = None,
    poll_seconds: float = 0.25,
) -> operations_pb2.Operation:
    """Polls until the operation is done. Raises TimeoutError after `timeout` seconds."""
    async with asyncio.timeout(timeout):
        while True:
            request = operations_pb2.GetOperationRequest(name=name)
            operation = await stub.GetOperation(request, timeout=30)
            if on_progress is not None:
                on_progress(operation)
            if operation.done:
                return operation
            await asyncio.sleep(poll_seconds)
