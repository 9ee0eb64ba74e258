"""No URI of a request leads to a host, or a file, that no setting names."""

import asyncio
import importlib
import re
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from google.longrunning import operations_pb2_grpc
from google.protobuf import json_format
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass
from variegate.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from variegate.retriever.v1 import retriever_pb2, retriever_pb2_grpc

from embedded.system import EmbeddedSystem
from servicekit.operations import wait_for
from tests.e2e.uris_of_requests import (
    FOREIGN,
    IMAGE,
    MANIFEST,
    PHOTOS,
    REQUESTS,
    Listener,
    fields_of,
    filled,
)
from tests.protos.test_limits import messages

pytestmark = pytest.mark.slow
SECONDS = 60
# What is said of a URI that leads elsewhere.
UNKNOWN_PLACE = re.compile("is not an object (store URI|key)|cannot be imported|with an IP-Adapter")


@dataclass
class Running:
    """The channels of the services, and URIs of ours."""

    channels: dict[str, grpc.aio.Channel]
    ours: dict[str, str]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory, photographs):
    """All services, with a dataset that has a test split, and an index of it."""
    state = tmp_path_factory.mktemp("foreign") / "state"
    train, test = ((photographs / part).as_uri() for part in ("train", "test"))
    async with EmbeddedSystem(state, (photographs,)) as running:
        channels = {name: grpc.aio.insecure_channel(running.targets[name]) for name in REQUESTS}
        gateway = gateway_pb2_grpc.GatewayServiceStub(channels["gateway"])
        source = gateway_pb2.DatasetSource(train_uri=train, test_uri=test)
        request = gateway_pb2.ImportDatasetRequest(dataset_id="tested", source=source)
        await finish(channels["gateway"], gateway.ImportDataset(request, timeout=SECONDS))
        retriever = retriever_pb2_grpc.RetrieverServiceStub(channels["retriever"])
        request = retriever_pb2.CreateIndexRequest(index_id="searched", pool_uri=MANIFEST)
        await finish(channels["retriever"], retriever.CreateIndex(request, timeout=SECONDS))
        objects: Path = state / "objects"
        image = next(objects.rglob("images/*/*")).relative_to(objects)
        yield Running(channels, {IMAGE: f"store:{image}", PHOTOS: train})
        for channel in channels.values():
            await channel.close()


async def finish(channel, call):
    stub = operations_pb2_grpc.OperationsStub(channel)
    assert not (await wait_for(stub, (await call).name, SECONDS)).HasField("error")


def test_every_field_that_takes_a_uri_has_a_request_with_one():
    found = {
        one
        for name, requests in REQUESTS.items()
        for method, body in requests
        for one in fields_of(method_of(name, method).input_type, body)
    }
    wanted = {
        (message.full_name, one.name)
        for message in messages()
        for one in message.fields
        if one.name.endswith(("uri", "uris"))
    }
    assert found == wanted


def method_of(name: str, method: str) -> MethodDescriptor:
    own = importlib.import_module(f"variegate.{name}.v1.{name}_pb2").DESCRIPTOR
    return own.services_by_name[f"{name.capitalize()}Service"].methods_by_name[method]


@pytest.mark.parametrize("name", sorted(REQUESTS))
@pytest.mark.asyncio(loop_scope="module")
async def test_no_uri_of_a_request_reaches_a_host_that_no_setting_names(system, name):
    async with Listener() as host:
        uris = host.uris()
        for number, (method, body) in enumerate(REQUESTS[name]):
            for uri in uris if number == 0 else uris[number % len(uris) :][:1]:
                values = {**system.ours, FOREIGN: uri}
                said = await told(system.channels[name], method_of(name, method), body, values)
                assert UNKNOWN_PLACE.search(said), (method, body, uri, said)
        assert host.connections == 0
        _, writer = await asyncio.open_connection(*host.place.split(":"))
        while not host.connections:
            await asyncio.sleep(0.01)
        writer.close()


async def told(channel, method: MethodDescriptor, body, values: dict[str, str]) -> str:
    """Returns what is said of a request, as an error of the call or of its one item."""
    kind = ["unary", "stream"]
    shape = f"{kind[method.client_streaming]}_{kind[method.server_streaming]}"
    request = json_format.ParseDict(filled(body, values), GetMessageClass(method.input_type)())
    service = method.containing_service.full_name
    call = getattr(channel, shape)(f"/{service}/{method.name}")
    data = request.SerializeToString()
    answers = call(iter([data]) if method.client_streaming else data, timeout=SECONDS)
    try:
        if not method.server_streaming:
            return f"answered: {await answers!r}"
        return "".join([f"answered: {one!r}" async for one in answers])
    except grpc.aio.AioRpcError as error:
        return f"{error.code().name}: {error.details()}"
