"""All six services as they serve, with the metrics that they have after a little work."""

import asyncio
import threading
from contextlib import AsyncExitStack, contextmanager
from importlib import import_module

import grpc
from google.longrunning import operations_pb2_grpc
from google.protobuf import descriptor_pool
from prometheus_client import start_http_server
from variegate.gateway.v1 import gateway_pb2
from variegate.gateway.v1 import gateway_pb2_grpc as gateway_rpc
from variegate.generator.v1 import generator_pb2 as generator
from variegate.generator.v1 import generator_pb2_grpc as generator_rpc

from gateway.durable.database import sqlite_url
from gateway.settings import GatewaySettings
from gateway.wiring import create_service
from servicekit.channels import open_channel
from servicekit.places import SERVICES
from servicekit.server import Service, start
from servicekit.storage import DirectoryStore
from tests.gateway import doubles
from tests.gateway.pictures import write_folder
from tests.gateway.system import FIVE, System

# Those whose metrics tell of their work once they are loaded; the others need not be.
_LOADED = ("captioner", "generator", "retriever")
_GATEWAY = gateway_pb2.DESCRIPTOR.services_by_name["GatewayService"]
_GENERATOR = generator.DESCRIPTOR.services_by_name["GeneratorService"]


@contextmanager
def served_metrics(folder):
    """Serves and works in a thread; yields the port of each service's metrics."""
    loop, ports, ready, done = asyncio.new_event_loop(), {}, threading.Event(), asyncio.Event()
    failure = []

    async def serve():
        async with AsyncExitStack() as stack:
            try:
                await _start(stack, folder, ports)
            except BaseException as error:
                failure.append(error)
            ready.set()
            await done.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        ready.wait(120)
        if failure:
            raise failure[0]
        yield ports
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(60)
        loop.close()


async def _start(stack, folder, ports):
    store, servers = DirectoryStore(folder / "objects", durable=False), {}
    for name in SERVICES:
        if name == "gateway":
            servers[name] = server = await _gateway(stack, folder, store)
        else:
            settings = import_module(f"{name}.settings")
            service = import_module(f"{name}.wiring").create_service(
                getattr(settings, f"{name.title()}Settings")(), store
            )
            servers[name] = server = await _serving(stack, service, name in _LOADED)
        http, thread = start_http_server(0, "127.0.0.1", registry=server.metrics.registry)
        stack.callback(http.server_close)
        stack.callback(thread.join)
        stack.callback(http.shutdown)
        ports[name] = http.server_port
    await _make_an_image(servers["generator"])
    await _augment(servers["gateway"], folder, store)
    for server in servers.values():
        await _fail(server)


async def _serving(stack, service, is_loaded):
    server = await start(service)
    stack.push_async_callback(server.stop)
    if is_loaded:
        await server.loaded
    return server


async def _gateway(stack, folder, store):
    """A gateway in front of doubles, so that its work is done in no time."""

    async def nothing():
        pass

    def register(server):
        doubles.add_to(server, store, doubles.Trouble(unsafe_share=0.2))

    five = await _serving(stack, Service("doubles", (), register, nothing, nothing), True)
    values = GatewaySettings(
        **dict.fromkeys(FIVE, five.target),
        import_roots=(str(folder),),
        database_url=sqlite_url(folder / "gateway.sqlite"),
    )
    return await _serving(stack, create_service(values, store), True)


async def _augment(gateway, folder, store):
    write_folder(folder / "train")
    async with open_channel(gateway.target, _GATEWAY) as channel:
        stub = gateway_rpc.GatewayServiceStub(channel)
        operations = operations_pb2_grpc.OperationsStub(channel)
        system = System(stub, operations, store, doubles.Trouble(), {}, None)
        await system.import_folder(folder / "train")
        made = await system.augment(check_safety=True)
        assert made.result.accepted_count == 6


async def _make_an_image(server):
    async with open_channel(server.target, _GENERATOR) as channel:
        stub = generator_rpc.GeneratorServiceStub(channel)
        sampling = generator.SamplingParameters(steps=1)
        item = generator.Item(item_id="one", text={"prompt": "a dog"})
        request = generator.GenerateImagesRequest(model="text", sampling=sampling, items=[item])
        for _ in range(2):  # The second finds it.
            [answer] = [one async for one in stub.GenerateImages(request, timeout=60)]
            assert answer.image.uri, answer


async def _fail(server):
    """Makes a call without a deadline, which no service takes."""
    descriptor = descriptor_pool.Default().FindServiceByName(server.service.full_names[0])
    unary = [one for one in descriptor.methods if not one.client_streaming]
    method = next(one for one in unary if not one.server_streaming)
    async with grpc.aio.insecure_channel(server.target) as channel:
        call = channel.unary_unary(f"/{descriptor.full_name}/{method.name}")
        try:
            await call(b"")
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, error
