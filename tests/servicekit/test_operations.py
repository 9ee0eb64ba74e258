import asyncio

import pytest
from google.longrunning import operations_pb2, operations_pb2_grpc
from variegate.retriever.v1.retriever_pb2 import CreateIndexMetadata, CreateIndexRequest, Index

from servicekit.channels import open_channel
from servicekit.errors import AlreadyExists, NotFound, Precondition, from_status
from servicekit.operations import OperationRunner, OperationsServicer, wait_for
from servicekit.server import Service, running
from servicekit.storage import MemoryStore

REQUEST = CreateIndexRequest(index_id="pool", pool_uri="store:a")


class Work:
    """Counts its runs and waits at a gate."""

    def __init__(self):
        self.runs = 0
        self.gate = asyncio.Event()

    async def __call__(self, progress):
        self.runs += 1
        progress.update(CreateIndexMetadata(done_count=self.runs))
        await self.gate.wait()
        return Index(name="indexes/pool")


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def runner(store):
    return OperationRunner(store, "retriever")


async def finished(runner, name):
    while not (operation := await runner.get(name)).done:
        await asyncio.sleep(0.01)
    return operation


def result(operation):
    found = Index()
    assert operation.response.Unpack(found)
    return found


async def test_the_same_request_answers_the_same_operation_and_works_once(runner):
    work = Work()
    first = await runner.start("pool", REQUEST, work)
    again = await runner.start("pool", REQUEST, work)
    assert first.name == again.name == "operations/retriever-pool"
    work.gate.set()
    assert result(await finished(runner, first.name)).name == "indexes/pool"
    assert (await runner.start("pool", REQUEST, work)).done
    assert work.runs == 1


async def test_another_request_with_the_same_id_is_refused(runner):
    await runner.start("pool", REQUEST, Work())
    with pytest.raises(AlreadyExists, match="another request"):
        await runner.start("pool", CreateIndexRequest(index_id="pool", pool_uri="store:b"), Work())


async def test_metadata_is_there_while_the_work_runs(runner):
    operation = await runner.start("pool", REQUEST, Work())
    await asyncio.sleep(0.05)
    metadata = CreateIndexMetadata()
    assert (await runner.get(operation.name)).metadata.Unpack(metadata)
    assert metadata.done_count == 1
    await runner.close()


async def test_the_last_metadata_stays_however_soon_it_follows(runner):
    async def work(progress):
        for count in range(5):
            progress.update(CreateIndexMetadata(done_count=count))
        return Index(name="indexes/pool")

    operation = await finished(runner, (await runner.start("pool", REQUEST, work)).name)
    metadata = CreateIndexMetadata()
    assert operation.metadata.Unpack(metadata) and metadata.done_count == 4


async def test_interrupted_work_goes_on_when_it_is_asked_for_again(store, runner):
    work = Work()
    operation = await runner.start("pool", REQUEST, work)
    await asyncio.sleep(0.01)
    await runner.close()
    assert not (await runner.get(operation.name)).done
    reborn = OperationRunner(store, "retriever")
    work.gate.set()
    await reborn.start("pool", REQUEST, work)
    assert result(await finished(reborn, operation.name)).name == "indexes/pool"
    assert work.runs == 2


async def test_an_error_ends_the_operation_and_asking_again_tries_again(runner):
    async def failing(progress):
        raise Precondition("the pool is empty", subject="store:a", reason="POOL_EMPTY")

    operation = await runner.start("pool", REQUEST, failing)
    error = from_status((await finished(runner, operation.name)).error)
    assert (type(error), error.reason) == (Precondition, "POOL_EMPTY")
    work = Work()
    work.gate.set()
    await runner.start("pool", REQUEST, work)
    assert result(await finished(runner, operation.name)).name == "indexes/pool"


async def test_a_cancelled_operation_says_so(runner):
    operation = await runner.start("pool", REQUEST, Work())
    await asyncio.sleep(0.01)
    await runner.cancel(operation.name)
    assert (await finished(runner, operation.name)).error.code == 1


async def test_operations_are_served_over_grpc(runner):
    def register(server):
        operations_pb2_grpc.add_OperationsServicer_to_server(OperationsServicer(runner), server)

    names = ("google.longrunning.Operations",)
    nothing = lambda: asyncio.sleep(0)  # noqa: E731
    work = Work()
    operation = await runner.start("pool", REQUEST, work)
    async with (
        running(Service("retriever", names, register, nothing, nothing)) as server,
        open_channel(server.target) as channel,
    ):
        stub = operations_pb2_grpc.OperationsStub(channel)
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
