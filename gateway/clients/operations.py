"""Waiting for an operation of another service."""

import time
from collections.abc import Callable
from datetime import timedelta

from google.longrunning import operations_pb2, operations_pb2_grpc

from gateway.clients.patience import patiently
from servicekit.errors import from_status

_LOOK_EVERY_SECONDS = 1.0

Look = Callable[[operations_pb2.Operation], None]


async def finish(
    stub: operations_pb2_grpc.OperationsStub,
    operation: operations_pb2.Operation,
    *,
    patience_seconds: float,
    look: Look | None = None,
) -> operations_pb2.Operation:
    """Waits until the operation is done, however long. Raises the ServiceError it ended with."""
    request = operations_pb2.WaitOperationRequest(name=operation.name)
    request.timeout.FromTimedelta(timedelta(seconds=_LOOK_EVERY_SECONDS))
    while not operation.done:
        began = time.monotonic()
        operation = await patiently(
            lambda: stub.WaitOperation(request, timeout=30), patience_seconds
        )
        if look is not None and time.monotonic() > began:
            look(operation)
    if operation.HasField("error"):
        raise from_status(operation.error)
    return operation
