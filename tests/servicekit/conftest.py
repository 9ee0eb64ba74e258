"""One real S3 server for all tests of this folder, and a small service for each that asks."""

import pytest
from variegate.captioner.v1 import captioner_pb2_grpc as rpc

from servicekit.channels import open_channel
from servicekit.operations import OperationRunner
from servicekit.server import running
from servicekit.storage import MemoryStore
from tests.seaweed import Seaweed
from tests.servicekit.echo import DESCRIPTOR, echo


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory):
    server = Seaweed(tmp_path_factory.mktemp("weed"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
async def server():
    async with running(echo()) as found:
        yield found


@pytest.fixture
async def channel(server):
    async with open_channel(server.target, DESCRIPTOR) as found:
        yield found


@pytest.fixture
def stub(channel):
    return rpc.CaptionerServiceStub(channel)


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def runner(store):
    return OperationRunner(store, "retriever")
