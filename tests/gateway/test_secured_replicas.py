"""Replicas that are called with TLS, by their addresses and verified by their common name."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from variegate.generator.v1 import generator_pb2 as pb
from variegate.generator.v1 import generator_pb2_grpc as rpc

from gateway.clients.patience import Patience
from gateway.clients.replicas import Replicas
from gateway.settings import GatewaySettings
from servicekit.errors import Unavailable
from servicekit.server_settings import ServerSettings
from servicekit.targets import Target
from tests.authority import Authority, Mounted
from tests.gateway.behind_a_name import BehindAName

SERVICE = pb.DESCRIPTOR.services_by_name["GeneratorService"]


class Models(rpc.GeneratorServiceServicer):
    async def ListModels(self, request, context):
        return pb.ListModelsResponse(engine="heard")


@pytest.fixture(scope="module")
def authority():
    return Authority()


class Secured:
    """Two replicas with certificates for `name`, and what calls them."""

    def __init__(self, stack, folder, authority, name):
        self.server = Mounted(folder / "server", authority.issue(name), authority.certificate)
        own = Mounted(folder / "gateway", authority.issue("gateway"), authority.certificate)
        paths = {"certificate": self.server.certificate, "key": self.server.key}
        settings = ServerSettings(
            **{f"tls_{part}": str(path) for part, path in {**paths, "ca": self.server.ca}.items()},
            tls_peers=("gateway",),
        )
        self.place = BehindAName(stack, settings)
        self.calls = Replicas(
            self.place.target,
            SERVICE,
            rpc.GeneratorServiceStub,
            self._engine,
            GatewaySettings(
                tls_ca=str(own.ca), tls_certificate=str(own.certificate), tls_key=str(own.key)
            ).certificates(),
        )
        stack.push_async_callback(self.calls.close)

    async def _engine(self, stub):
        answer = await stub.ListModels(pb.ListModelsRequest(), timeout=20)
        return len(answer.engine)

    async def start(self, count):
        for _ in range(count):
            await self.place.add(
                lambda server: rpc.add_GeneratorServiceServicer_to_server(Models(), server),
                SERVICE.full_name,
            )

    async def ask(self, patience=20):
        return await self.calls.call(1, self._engine, Patience(patience, "generator"))


async def test_replicas_are_verified_by_the_name_that_they_are_behind(tmp_path, authority):
    async with AsyncExitStack() as stack:
        place = Secured(stack, tmp_path, authority, "generator.test")
        assert Target.of(place.place.target).host == "generator.test"
        await place.start(2)
        assert await asyncio.gather(*(place.ask() for _ in range(8))) == [len("heard")] * 8
        ready = [one for one in place.calls._replicas.values() if one.is_ready]
        assert ready, "a channel with TLS tells when it is ready"


async def test_a_replica_with_a_certificate_of_another_service_is_not_called(tmp_path, authority):
    async with AsyncExitStack() as stack:
        place = Secured(stack, tmp_path, authority, "captioner")
        await place.start(1)
        with pytest.raises(Unavailable, match=r"is for captioner, and not for generator\.test"):
            await place.ask(patience=0)
