"""A command's talk with the gateway: calls with deadlines, operations waited for."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf.message import Message
from variegate.gateway.v1 import gateway_pb2, gateway_pb2_grpc

from gateway.cli.connect import Endpoints
from gateway.cli.progress import ProgressLine, View
from gateway.cli.token_source import token_source
from servicekit.channels import open_channel
from servicekit.errors import DeadlineExceeded, Unavailable
from servicekit.statuses import from_rpc_error, from_status

CALL_SECONDS = 60.0
# A gateway that restarts while we wait goes on with its work, so we wait for it as well.
PATIENCE_SECONDS = 120.0
# One that is there and says nothing is busy, or behind a network that loses what is sent.
BUSY_SECONDS = 600.0
POLL_TIMEOUT_SECONDS = 10.0
_POLL_SECONDS = 0.3
_LOST = (
    "The system has not answered for {:.0f} s. What it finished is kept: start it again, repeat "
    "the command, and it goes on from there."
)
_SLOW = (
    "the system has not answered {} within {:.0f} s, so it, or this machine, is very busy; what is "
    "finished is kept, and the same command goes on from there"
)

M = TypeVar("M", bound=Message)
_SERVICE = gateway_pb2.DESCRIPTOR.services_by_name["GatewayService"]


@dataclass(frozen=True)
class Session:
    """An open channel to the gateway, and the view that shows progress and what it `said`."""

    connection: Endpoints
    channel: grpc.aio.Channel
    view: View
    said: set[str] = field(default_factory=set)

    @property
    def gateway(self) -> Any:
        """The stub of the gateway."""
        return gateway_pb2_grpc.GatewayServiceStub(self.channel)

    @property
    def operations(self) -> Any:
        """The stub of the gateway's operations."""
        return operations_pb2_grpc.OperationsStub(self.channel)

    async def call(self, method: Callable[..., Awaitable[M]], request: Message) -> M:
        """Makes a unary call. Raises the ServiceError behind a failed one."""
        try:
            return await method(request, timeout=CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            found = from_rpc_error(error)
            if isinstance(found, DeadlineExceeded):
                asked = request.DESCRIPTOR.name.removesuffix("Request")
                found = DeadlineExceeded(_SLOW.format(asked, CALL_SECONDS))
            raise found from error

    async def finished(
        self, operation: operations_pb2.Operation, answer: M, *, part: str = ""
    ) -> M:
        """Waits for an operation of the gateway and unpacks its response into `answer`."""
        done = await wait(self.operations, operation, self.view, lambda op: self._show(op, part))
        done.response.Unpack(answer)
        return answer

    async def stopped(self, operation: operations_pb2.Operation) -> gateway_pb2.OperationProgress:
        """Cancels an operation of the gateway, and returns how far it came."""
        progress = gateway_pb2.OperationProgress()
        request = operations_pb2.GetOperationRequest(name=operation.name)
        (await self.call(self.operations.GetOperation, request)).metadata.Unpack(progress)
        cancel = operations_pb2.CancelOperationRequest(name=operation.name)
        await self.call(self.operations.CancelOperation, cancel)
        return progress

    def _show(self, operation: operations_pb2.Operation, part: str) -> None:
        progress = gateway_pb2.OperationProgress()
        if not operation.metadata.Unpack(progress):
            return
        for text in progress.notices:
            if text not in self.said:
                self.said.add(text)
                self.view.say(text)
        if progress.stage:
            self.view.show(progress_line(progress, part))


def open_session(connection: Endpoints, view: View) -> Session:
    """Opens the channel; nothing is sent yet."""
    certificates = connection.certificates
    token = None
    if not connection.is_own:
        is_encrypted = certificates is not None
        token = token_source(os.environ, connection.gateway, is_encrypted=is_encrypted)
    channel = open_channel(connection.gateway, _SERVICE, token=token, certificates=certificates)
    return Session(connection, channel, view)


def progress_line(progress: gateway_pb2.OperationProgress, part: str = "") -> ProgressLine:
    """The step that a progress message describes."""
    return ProgressLine(
        stage=progress.stage,
        done=progress.done_count,
        total=progress.total_count,
        rate=progress.rate,
        unit=progress.unit,
        failed=progress.failed_count,
        part=progress.part or part,
        waiting=progress.waiting,
        failures=tuple((failure.item_id, failure.message) for failure in progress.failures),
    )


async def wait(
    operations: Any,
    operation: operations_pb2.Operation,
    view: View,
    show: Callable[[operations_pb2.Operation], None],
) -> operations_pb2.Operation:
    """Polls until the operation is done. Raises its ServiceError if it failed.

    A server that cannot be reached is waited for, which `view` says, and so is one that is too
    busy to answer. Raises Unavailable after `PATIENCE_SECONDS` or `BUSY_SECONDS`.
    """
    heard_at, is_lost = time.monotonic(), False
    while True:
        show(operation)
        if operation.done:
            break
        await asyncio.sleep(_POLL_SECONDS)
        request = operations_pb2.GetOperationRequest(name=operation.name)
        try:
            operation = await operations.GetOperation(request, timeout=POLL_TIMEOUT_SECONDS)
            heard_at, is_lost = time.monotonic(), False
        except grpc.aio.AioRpcError as error:
            if (patience := _patience(error)) is None:
                raise from_rpc_error(error) from error
            if time.monotonic() - heard_at > patience:
                raise Unavailable(_LOST.format(patience), reason="SYSTEM_LOST") from error
            if not is_lost:
                view.say(f"the system does not answer; waiting {patience:.0f} s for it")
                is_lost = True
    if operation.HasField("error"):
        raise from_status(operation.error)
    return operation


def _patience(error: grpc.aio.AioRpcError) -> float | None:
    """For how long a poll that failed so is repeated; None if that would not help."""
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        return PATIENCE_SECONDS
    return BUSY_SECONDS if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED else None
