"""Waiting for an operation of another service."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import grpc
from google.longrunning import operations_pb2, operations_pb2_grpc

from gateway.clients.faults import as_ours
from gateway.clients.patience import Patience
from servicekit.statuses import from_rpc_error, from_status

_LOOK_EVERY_SECONDS = 1.0

Look = Callable[[operations_pb2.Operation], None]
Create = Callable[[], Awaitable[operations_pb2.Operation]]


async def finish(
    stub: operations_pb2_grpc.OperationsStub,
    create: Create,
    *,
    service: str,
    patience_seconds: float,
    look: Look | None = None,
) -> operations_pb2.Operation:
    """Starts an operation and waits until it is done, however long.

    `create` is an idempotent call. It is made again after every failed one, because a service that
    was started again goes on with its work only when asked. Raises the ServiceError that the
    operation ended with, or the last one of a `service` that stays away for `patience_seconds`.
    """
    patience = Patience(patience_seconds, service)
    operation: operations_pb2.Operation | None = None
    while operation is None or not operation.done:
        try:
            operation = await (create() if operation is None else _wait(stub, operation.name))
        except grpc.aio.AioRpcError as error:
            await patience.wait_after(from_rpc_error(error))
            operation = None
            continue
        patience.succeeded()
        if look is not None:
            look(operation)
    if operation.HasField("error"):
        raise as_ours(from_status(operation.error), service)
    return operation


def _wait(
    stub: operations_pb2_grpc.OperationsStub, name: str
) -> Awaitable[operations_pb2.Operation]:
    request = operations_pb2.WaitOperationRequest(name=name)
    request.timeout.FromTimedelta(timedelta(seconds=_LOOK_EVERY_SECONDS))
    answer: Awaitable[operations_pb2.Operation] = stub.WaitOperation(request, timeout=30)
    return answer
