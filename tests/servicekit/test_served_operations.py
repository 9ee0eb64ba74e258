"""Operations over gRPC: listed by pages, waited for, cancelled and deleted by name."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from google.longrunning import operations_pb2, operations_pb2_grpc

from servicekit.channels import open_channel
from servicekit.errors import InvalidArgument, NotFound
from servicekit.operations import OperationsServicer, wait_for
from servicekit.server import Service, running
from tests.servicekit.test_operations import REQUEST, Work


@asynccontextmanager
async def served(runner):
    def register(server):
        operations_pb2_grpc.add_OperationsServicer_to_server(OperationsServicer(runner), server)

    names = ("google.longrunning.Operations",)
    nothing = lambda: asyncio.sleep(0)  # noqa: E731
    async with (
        running(Service("retriever", names, register, nothing, nothing)) as server,
        open_channel(server.target) as channel,
    ):
        yield operations_pb2_grpc.OperationsStub(channel)


async def test_operations_are_listed_by_pages(runner):
    for number in range(5):
        await runner.start(f"pool-{number}", REQUEST, Work())
    token, seen = "", []
    async with served(runner) as stub:
        while True:
            request = operations_pb2.ListOperationsRequest(page_size=2, page_token=token)
            page = await stub.ListOperations(request, timeout=5)
            seen.append([operation.name[-1] for operation in page.operations])
            if not (token := page.next_page_token):
                break
    assert seen == [["0", "1"], ["2", "3"], ["4"]]


async def test_those_that_are_not_done_are_listed_alone(runner):
    work = Work()
    work.gate.set()
    done = await runner.start("pool-0", REQUEST, work)
    for number in (1, 2):
        await runner.start(f"pool-{number}", REQUEST, Work())
    async with served(runner) as stub:
        await wait_for(stub, done.name, 10)
        for text in ("done=false", "done = false"):
            request = operations_pb2.ListOperationsRequest(filter=text, page_size=2)
            page = await stub.ListOperations(request, timeout=5)
            assert [operation.name[-1] for operation in page.operations] == ["1", "2"]


@pytest.mark.parametrize(
    ("method", "message", "field"),
    [
        ("ListOperations", operations_pb2.ListOperationsRequest(page_size=-1), "page_size"),
        ("ListOperations", operations_pb2.ListOperationsRequest(filter="done"), "filter"),
        (
            "ListOperations",
            operations_pb2.ListOperationsRequest(name="users/1", filter="done=false"),
            "name",
        ),
        ("ListOperations", operations_pb2.ListOperationsRequest(name="users/1"), "name"),
    ],
)
async def test_what_cannot_be_listed_is_refused(runner, fails, method, message, field):
    async with served(runner) as stub:
        error = await fails(getattr(stub, method)(message, timeout=5))
    assert (type(error), error.field) == (InvalidArgument, field)


async def test_a_wait_may_be_longer_than_any_calendar_and_not_negative(runner, fails):
    operation = await runner.start("pool", REQUEST, Work())
    async with served(runner) as stub:
        for seconds in (10**14, 2**62):
            request = operations_pb2.WaitOperationRequest(name=operation.name)
            request.timeout.seconds = seconds
            assert not (await stub.WaitOperation(request, timeout=0.5)).done
        request.timeout.seconds = -1
        assert (await fails(stub.WaitOperation(request, timeout=0.5))).field == "timeout"


@pytest.mark.parametrize(
    "name", ["", "pool", "operations/", "operations/" + "n" * 300, "operations/../x", "é" * 3000]
)
async def test_a_name_that_no_operation_has_is_not_found(runner, fails, name):
    async with served(runner) as stub:
        calls = [
            stub.GetOperation(operations_pb2.GetOperationRequest(name=name), timeout=5),
            stub.CancelOperation(operations_pb2.CancelOperationRequest(name=name), timeout=5),
            stub.DeleteOperation(operations_pb2.DeleteOperationRequest(name=name), timeout=5),
            stub.WaitOperation(operations_pb2.WaitOperationRequest(name=name), timeout=5),
        ]
        for call in calls:
            assert isinstance(await fails(call), NotFound)


async def test_operations_are_served_over_grpc(runner):
    work = Work()
    operation = await runner.start("pool", REQUEST, work)
    async with served(runner) as stub:
        listed = await stub.ListOperations(operations_pb2.ListOperationsRequest(), timeout=5)
        assert [o.name for o in listed.operations] == [operation.name]
        waited = await stub.WaitOperation(
            operations_pb2.WaitOperationRequest(name=operation.name), timeout=0.6
        )
        assert not waited.done
        work.gate.set()
        seen = []
        assert (await wait_for(stub, operation.name, 5, seen.append)).done
        assert seen
        await stub.DeleteOperation(
            operations_pb2.DeleteOperationRequest(name=operation.name), timeout=5
        )
    with pytest.raises(NotFound):
        await runner.get(operation.name)
