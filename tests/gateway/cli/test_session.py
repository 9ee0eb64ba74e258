"""Waiting for work in a system that goes away meanwhile."""

import asyncio

import grpc
import pytest
from google.longrunning import operations_pb2, operations_pb2_grpc
from variegate.gateway.v1.gateway_pb2 import ListMethodsRequest
from variegate.retriever.v1.retriever_pb2 import CreateIndexRequest, Index

from gateway.cli import session
from gateway.cli.progress import PlainView
from servicekit.channels import open_channel
from servicekit.errors import DeadlineExceeded, Unavailable
from servicekit.operations import OperationRunner, OperationsServicer
from servicekit.server import Service, running
from servicekit.storage import MemoryStore

GATEWAY = "variegate.gateway.v1.GatewayService"


class System:
    """A server of one operation, which goes on while the server is away."""

    def __init__(self, address):
        self._address = address
        self._runner = OperationRunner(MemoryStore(), "retriever")
        self.gate = asyncio.Event()

    def served(self):
        def register(server):
            servicer = OperationsServicer(self._runner)
            operations_pb2_grpc.add_OperationsServicer_to_server(servicer, server)

        async def nothing():
            pass

        names = ("google.longrunning.Operations",)
        return running(Service("retriever", names, register, nothing, nothing), self._address)

    async def begin(self):
        async def work(progress):
            await self.gate.wait()
            return Index(name="indexes/pool")

        request = CreateIndexRequest(index_id="pool", pool_uri="store:a")
        return await self._runner.start("pool", request, work)


@pytest.fixture
def system(unused_port):
    return System(f"127.0.0.1:{unused_port}")


async def test_a_system_that_comes_back_is_waited_for_and_that_is_said_once(system, capsys):
    operation = await system.begin()
    async with system.served() as server, open_channel(server.target) as channel:
        stub = operations_pb2_grpc.OperationsStub(channel)
        task = asyncio.create_task(
            session.wait(stub, operation, PlainView(), lambda operation: None)
        )
        await asyncio.sleep(0.5)
        await server.stop(grace=0)
        await asyncio.sleep(1.5)
        assert not task.done()
        system.gate.set()
        async with system.served():
            done = await asyncio.wait_for(task, 20)
    assert done.response.Is(Index.DESCRIPTOR)
    assert capsys.readouterr().err.count("waiting 120 s for it") == 1


async def test_a_system_that_stays_away_is_named_with_what_to_do(system, monkeypatch):
    monkeypatch.setattr(session, "PATIENCE_SECONDS", 1.0)
    operation = await system.begin()
    async with system.served() as server, open_channel(server.target) as channel:
        await server.stop(grace=0)
        stub = operations_pb2_grpc.OperationsStub(channel)
        with pytest.raises(Unavailable, match=r"not answered for 1 s.*repeat the command"):
            await session.wait(stub, operation, PlainView(), lambda operation: None)


class BusyOperations(operations_pb2_grpc.OperationsServicer):
    """Answers the first poll too late."""

    def __init__(self, seconds):
        self.seconds = [seconds]

    async def GetOperation(self, request, context):
        await asyncio.sleep(self.seconds.pop() if self.seconds else 0)
        return operations_pb2.Operation(name=request.name, done=True)


async def test_a_system_that_is_too_busy_to_answer_a_poll_is_waited_for(monkeypatch, capsys):
    monkeypatch.setattr(session, "POLL_TIMEOUT_SECONDS", 0.3)

    def register(server):
        operations_pb2_grpc.add_OperationsServicer_to_server(BusyOperations(1.0), server)

    async def nothing():
        pass

    service = Service("busy", ("google.longrunning.Operations",), register, nothing, nothing)
    async with running(service) as server, open_channel(server.target) as channel:
        stub = operations_pb2_grpc.OperationsStub(channel)
        begun = operations_pb2.Operation(name="operations/a")
        done = await session.wait(stub, begun, PlainView(), lambda operation: None)
    assert done.done
    assert "does not answer; waiting 600 s" in capsys.readouterr().err


async def test_a_call_that_is_not_answered_in_time_is_named_with_what_to_do(monkeypatch):
    async def never(request, context):
        await asyncio.sleep(60)

    handler = grpc.unary_unary_rpc_method_handler(never)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(GATEWAY, {"ListMethods": handler})]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    monkeypatch.setattr(session, "CALL_SECONDS", 0.2)
    async with open_channel(f"127.0.0.1:{port}") as channel:
        opened = session.Session(None, channel, PlainView())
        with pytest.raises(DeadlineExceeded, match=r"ListMethods within 0 s.*very busy"):
            await opened.call(opened.gateway.ListMethods, ListMethodsRequest())
    await server.stop(grace=0)
