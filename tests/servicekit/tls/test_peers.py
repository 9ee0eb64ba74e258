"""Whom a server answers where clients show certificates, and health without any."""

import asyncio

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tests_ports import free_port
from variegate.captioner.v1 import captioner_pb2 as pb
from variegate.captioner.v1 import captioner_pb2_grpc as rpc

from servicekit.channels import open_channel
from servicekit.errors import PermissionDenied, Unimplemented
from servicekit.server import LIVENESS, running, start
from servicekit.server_settings import ServerSettings
from servicekit.settings import SettingsError
from tests.servicekit.echo import echo
from tests.servicekit.tls.secured import HERE, ask, calling, serving

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SPIFFE = "spiffe://variegate/gateway"


def listing():
    return iter([reflection_pb2.ServerReflectionRequest(list_services="")])


@pytest.fixture
def settings(mounted, authority):
    """Of a server that answers some names alone."""
    files = mounted("server", authority.issue(HERE))
    return serving(files, asks=True, tls_peers=("gateway", "10.1.2.3", SPIFFE))


async def test_only_clients_of_the_named_identities_are_answered(
    mounted, authority, settings, fails
):
    async with running(echo(), settings=settings) as server:
        for issued in (
            authority.issue("any-gateway", "gateway"),
            authority.issue(common="gateway"),
            authority.issue("10.1.2.3"),
            authority.issue(SPIFFE),
        ):
            own = mounted(f"client-{issued.serial}", issued)
            assert await ask(server.target, calling(own, shows=True)) == "heard"
        own = mounted("intruder", authority.issue("captioner", "gateway.evil", common="gateway"))
        error = await fails(ask(server.target, calling(own, shows=True)))
    assert isinstance(error, PermissionDenied)
    assert error.reason == "PEER_NOT_ALLOWED"
    assert f"answers 10.1.2.3, gateway, {SPIFFE} (SERVER_TLS_PEERS)" in error.message
    assert "is for captioner, gateway.evil;" in error.message, (
        "a common name counts in a certificate without alternative names"
    )


async def test_others_may_ask_for_health_and_for_nothing_else(mounted, authority, settings, fails):
    own = calling(mounted("client", authority.issue("intruder")), shows=True)
    async with (
        running(echo(), settings=settings) as server,
        open_channel(server.target, certificates=own) as channel,
    ):
        captions = rpc.CaptionerServiceStub(channel).StreamCaptions(iter([]), timeout=20)
        assert isinstance(await fails(captions), PermissionDenied)
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        error = await fails(stub.ServerReflectionInfo(listing(), timeout=20))
        assert isinstance(error, PermissionDenied)
        health = health_pb2_grpc.HealthStub(channel)
        answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=20)
        assert answer.status == SERVING


def test_identities_need_an_authority_that_vouches_for_them(mounted, authority):
    files = mounted("server", authority.issue(HERE))
    for settings in (serving(files, tls_peers=("gateway",)), ServerSettings(tls_peers=("a",))):
        with pytest.raises(SettingsError, match="SERVER_TLS_PEERS is set and SERVER_TLS_CA is not"):
            settings.certificates()


async def test_health_has_a_port_of_its_own_without_tls_and_with_nothing_else(settings, fails):
    port, gate = free_port(), asyncio.Event()
    settings = ServerSettings(**{**vars(settings), "health_port": port})
    server = await start(echo(load=gate.wait), settings=settings)
    async with grpc.aio.insecure_channel(f"{HERE}:{port}") as channel:
        health, query = health_pb2_grpc.HealthStub(channel), health_pb2.HealthCheckRequest
        assert (await health.Check(query(), timeout=20)).status == NOT_SERVING
        assert (await health.Check(query(service=LIVENESS), timeout=20)).status == SERVING
        watched = health.Watch(query(), timeout=20)
        assert (await watched.read()).status == NOT_SERVING
        gate.set()
        assert (await watched.read()).status == SERVING
        captioner = rpc.CaptionerServiceStub(channel)
        request = pb.CaptionImageRequest(image_uri="store:a")
        assert isinstance(await fails(captioner.CaptionImage(request, timeout=20)), Unimplemented)
        reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
        error = await fails(reflection.ServerReflectionInfo(listing(), timeout=20))
        assert isinstance(error, Unimplemented)
        stopping = asyncio.create_task(server.stop(0))
        assert (await watched.read()).status == NOT_SERVING
        watched.cancel()
        await stopping
