"""The operations of a system: the gateway's, and the training runs that its trainer does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
from google.longrunning import operations_pb2 as pb
from google.longrunning import operations_pb2_grpc
from variegate.gateway.v1 import gateway_pb2
from variegate.trainer.v1 import trainer_pb2

from gateway.cli.progress import ProgressLine, training_line
from gateway.cli.session import progress_line
from servicekit.channels import open_channel

if TYPE_CHECKING:
    from gateway.cli.session import Session

_OF_TRAINER = "operations/trainer-"
# Begun by `variegate train` itself; others belong to studies, which are listed.
_OWN_RUNS = f"{_OF_TRAINER}cli-"
_CANCELLED = grpc.StatusCode.CANCELLED.value[0]


@dataclass(frozen=True)
class Seen:
    """An operation as people see it. Times are seconds since 1970, 0 if not known."""

    name: str
    state: str
    step: ProgressLine
    started: float
    ended: float
    error: str


async def every(session: "Session") -> list[Seen]:
    """All operations of the gateway, and the trainer's that no study shows or that run."""
    found = await _listed(session, session.operations)
    async with _trainer(session) as trainer:
        if trainer is not None:
            found += [
                operation
                for operation in await _listed(session, trainer)
                if not operation.done or operation.name.startswith(_OWN_RUNS)
            ]
    return [_seen(operation) for operation in found]


async def tell_what_goes_on(session: "Session") -> None:
    """Says which work of earlier commands a system that was just started has taken up again."""
    for operation in await _listed(session, session.operations, undone=True):
        name = operation.name
        session.view.say(
            f"going on with {name}, which was stopped before; `variegate cancel {name}` in another "
            "terminal ends it"
        )


async def one(session: "Session", name: str) -> Seen:
    """One operation. Raises the ServiceError of a name that does not exist."""
    request = pb.GetOperationRequest(name=name)
    async with _of(session, name) as stub:
        return _seen(await session.call(stub.GetOperation, request))


async def cancel(session: "Session", name: str) -> Seen:
    """Stops an operation and returns how it was found; one that is over is left as it is."""
    async with _of(session, name) as stub:
        # Asked first: cancelling what does not exist or is over would be silent.
        found = await session.call(stub.GetOperation, pb.GetOperationRequest(name=name))
        if not found.done:
            await session.call(stub.CancelOperation, pb.CancelOperationRequest(name=name))
    return _seen(found)


@asynccontextmanager
async def _of(session: "Session", name: str) -> AsyncIterator[Any]:
    """The stub that knows operations of this name."""
    async with _trainer(session) as trainer:
        is_run = name.startswith(_OF_TRAINER) and trainer is not None
        yield trainer if is_run else session.operations


@asynccontextmanager
async def _trainer(session: "Session") -> AsyncIterator[Any]:
    connection = session.connection
    if connection.trainer is None:
        yield None
        return
    async with open_channel(connection.trainer, certificates=connection.certificates) as channel:
        yield operations_pb2_grpc.OperationsStub(channel)


async def _listed(session: "Session", stub: Any, *, undone: bool = False) -> list[pb.Operation]:
    found: list[pb.Operation] = []
    token = ""
    while True:
        request = pb.ListOperationsRequest(
            page_size=100, page_token=token, filter="done=false" if undone else ""
        )
        page = await session.call(stub.ListOperations, request)
        found += page.operations
        token = page.next_page_token
        if not token:
            return found


def _seen(operation: pb.Operation) -> Seen:
    progress = gateway_pb2.OperationProgress()
    step = (
        progress_line(progress)
        if operation.metadata.Unpack(progress)
        else _training_step(operation)
    )
    state = "done" if operation.done else "running"
    if operation.HasField("error"):
        state = "cancelled" if operation.error.code == _CANCELLED else "failed"
    return Seen(
        name=operation.name,
        state=state,
        step=step,
        started=progress.create_time.ToMicroseconds() / 1e6,
        ended=progress.end_time.ToMicroseconds() / 1e6,
        error=operation.error.message,
    )


def _training_step(operation: pb.Operation) -> ProgressLine:
    progress = trainer_pb2.CreateTrainingRunMetadata()
    operation.metadata.Unpack(progress)
    return training_line(progress, "train")
