"""google.longrunning.Operations over an object store.

The state of an operation is an object, so it outlives the process. Work that was interrupted by
the death of its process starts again when the same request is made again; it finds what it had
finished in the store.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from servicekit.errors import AlreadyExists, Cancelled, NotFound, ServiceError, to_status
from servicekit.storage import ObjectStore

_SAVE_EVERY_SECONDS = 1.0
_POLL_SECONDS = 0.2
# Kept from the caller's deadline, so that the answer arrives before it.
_MARGIN_SECONDS = 0.2
_log = logging.getLogger(__name__)


class Progress:
    """Where running work reports its metadata; saved at most once a second."""

    def __init__(self, save: Callable[[Message], None]) -> None:
        self._save = save
        self._saved_at = 0.0
        self.latest: Message | None = None

    def update(self, metadata: Message) -> None:
        """Publishes the metadata of the operation. Thread-safe."""
        self.latest = metadata
        now = time.monotonic()
        if now - self._saved_at >= _SAVE_EVERY_SECONDS:
            self._saved_at = now
            self._save(metadata)


Work = Callable[[Progress], Awaitable[Message]]


class OperationRunner:
    """Runs operations of one service and keeps their state under `operations/SERVICE/`."""

    def __init__(self, store: ObjectStore, service: str) -> None:
        self._store = store
        self._service = service
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._starting = asyncio.Lock()

    async def start(
        self, operation_id: str, request: Message, work: Work
    ) -> operations_pb2.Operation:
        """Starts `work`, or answers the operation that the same id and request started before.

        A finished operation is answered as it is, unless it failed: then it is tried again.
        Raises AlreadyExists if the id belongs to another request.
        """
        name = f"operations/{self._service}-{operation_id}"
        digest = hashlib.sha256(request.SerializeToString(deterministic=True)).hexdigest()
        async with self._starting:
            await self._claim(name, digest)
            known = await asyncio.to_thread(self._read, name)
            running = name in self._tasks
            if known is not None and (running or (known.done and not known.HasField("error"))):
                return known
            operation = operations_pb2.Operation(name=name)
            await asyncio.to_thread(self._write, operation)
            self._tasks[name] = asyncio.create_task(self._run(name, work), name=name)
            return operation

    async def get(self, name: str) -> operations_pb2.Operation:
        """Returns the operation. Raises NotFound."""
        operation = await asyncio.to_thread(self._read, name)
        if operation is None:
            raise NotFound(f"no operation {name}", resource=name, reason="OPERATION_NOT_FOUND")
        return operation

    async def all(self) -> list[operations_pb2.Operation]:
        """Returns all operations of this service, sorted by name."""
        return await asyncio.to_thread(self._read_all)

    async def cancel(self, name: str) -> None:
        """Stops the work; what it had finished stays."""
        await self.get(name)
        if task := self._tasks.get(name):
            task.cancel()

    async def delete(self, name: str) -> None:
        """Forgets a finished operation. Its result stays."""
        await self.get(name)
        await asyncio.to_thread(self._store.delete, self._key(name))

    async def close(self) -> None:
        """Interrupts all work; the same requests go on with it later."""
        tasks, self._tasks = list(self._tasks.values()), {}
        for task in tasks:
            task.cancel("closing")
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _claim(self, name: str, digest: str) -> None:
        key = self._key(name).removesuffix(".pb") + ".request"
        if await asyncio.to_thread(self._store.put, key, digest.encode()):
            return
        if (await asyncio.to_thread(self._store.get, key)).decode() != digest:
            raise AlreadyExists(
                f"{name.removeprefix('operations/')} exists with another request; choose another "
                "id or ask for what it was made for",
                resource=name,
                reason="DIFFERENT_REQUEST",
            )

    async def _run(self, name: str, work: Work) -> None:
        operation = operations_pb2.Operation(name=name)

        def save(metadata: Message) -> None:
            operation.metadata.Pack(metadata)
            self._write(operation)

        progress = Progress(save)
        try:
            operation.response.Pack(await work(progress))
        except asyncio.CancelledError as error:
            if error.args == ("closing",):
                raise
            operation.error.CopyFrom(to_status(Cancelled("cancelled"), self._service))
        except ServiceError as error:
            operation.error.CopyFrom(to_status(error, self._service))
        except Exception as error:
            _log.exception("%s failed", name)
            operation.error.CopyFrom(to_status(error, self._service))
        if progress.latest is not None:
            operation.metadata.Pack(progress.latest)
        operation.done = True
        try:
            self._write(operation)
        finally:  # Work whose end could not be written down starts again when asked for.
            self._tasks.pop(name, None)

    def _key(self, name: str) -> str:
        return f"operations/{self._service}/{name.rpartition('/')[2]}.pb"

    def _read(self, name: str) -> operations_pb2.Operation | None:
        if not self._store.exists(self._key(name)):
            return None
        return operations_pb2.Operation.FromString(self._store.get(self._key(name)))

    def _read_all(self) -> list[operations_pb2.Operation]:
        keys = self._store.list(f"operations/{self._service}/")
        found = [self._store.get(key) for key in keys if key.endswith(".pb")]
        return [operations_pb2.Operation.FromString(data) for data in found]

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
        operations = [o for o in await self._runner.all() if o.name > request.page_token]
        size = request.page_size or 100
        more = len(operations) > size
        page = operations[:size]
        return operations_pb2.ListOperationsResponse(
            operations=page, next_page_token=page[-1].name if more else ""
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
        if request.HasField("timeout"):
            limits.append(request.timeout.ToTimedelta().total_seconds())
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
