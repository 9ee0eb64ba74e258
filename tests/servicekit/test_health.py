"""Health: of a server that loads, works, breaks and drains, and of its parts."""

import asyncio
from dataclasses import replace

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from variegate.captioner.v1 import captioner_pb2 as pb
from variegate.captioner.v1 import captioner_pb2_grpc as rpc

from servicekit.errors import Unavailable
from servicekit.server import LIVENESS, running, start
from tests.servicekit.echo import NAME, Echo, echo


def request():
    return pb.CaptionImageRequest(image_uri="store:a")


async def test_the_health_of_a_service_that_is_not_here_is_refused_as_everything_is(server, fails):
    async with grpc.aio.insecure_channel(server.target) as bare:
        query = health_pb2.HealthCheckRequest(service="x" * 5000)
        error = await fails(health_pb2_grpc.HealthStub(bare).Check(query, timeout=5))
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "SERVICE_NOT_FOUND")
    assert len(error.resource) < 300


async def test_the_health_of_all_services_is_listed(server):
    async with grpc.aio.insecure_channel(server.target) as bare:
        request = health_pb2.HealthListRequest()
        listed = await health_pb2_grpc.HealthStub(bare).List(request, timeout=5)
    serving = health_pb2.HealthCheckResponse.SERVING
    assert {name: one.status for name, one in listed.statuses.items()} == dict.fromkeys(
        ("", LIVENESS, NAME), serving
    )


async def test_a_server_that_drains_is_live_but_not_serving():
    gate = asyncio.Event()

    class Slow(Echo):
        async def CaptionImage(self, request, context):
            await gate.wait()
            return pb.CaptionImageResponse()

    add = rpc.add_CaptionerServiceServicer_to_server
    draining = await start(replace(echo(), register=lambda server: add(Slow(), server)))
    await draining.loaded
    async with grpc.aio.insecure_channel(draining.target) as bare:
        health = health_pb2_grpc.HealthStub(bare)
        query = health_pb2.HealthCheckRequest
        seen = {name: health.Watch(query(service=name)) for name in ("", LIVENESS)}
        for watch in seen.values():
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        call = rpc.CaptionerServiceStub(bare).CaptionImage(request(), timeout=10)
        await asyncio.sleep(0.05)
        stopping = asyncio.create_task(draining.stop(5))
        assert (await seen[""].read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(seen[LIVENESS].read(), 0.3)
        gate.set()
        await call
        for watch in seen.values():
            watch.cancel()
    await stopping


async def test_a_server_that_is_loading_says_so_and_is_live_but_not_serving(fails):
    gate = asyncio.Event()
    loading = await start(echo(load=gate.wait))
    async with grpc.aio.insecure_channel(loading.target) as bare:
        health = health_pb2_grpc.HealthStub(bare)
        check = health_pb2.HealthCheckRequest
        states = health_pb2.HealthCheckResponse
        error = await fails(rpc.CaptionerServiceStub(bare).CaptionImage(request(), timeout=5))
        assert isinstance(error, Unavailable)
        assert error.reason == "MODEL_LOADING"
        assert (await health.Check(check(service=NAME))).status == states.NOT_SERVING
        assert (await health.Check(check(service=LIVENESS))).status == states.SERVING
        gate.set()
        await loading.loaded
        assert (await health.Check(check(service=NAME))).status == states.SERVING
    await loading.stop(0)


async def becomes(health, name, wanted):
    """Says whether a service's health becomes what is wanted within five seconds."""
    query = health_pb2.HealthCheckRequest(service=name)
    for _ in range(500):
        answer = await health.Check(query, timeout=5)
        if answer.status == getattr(health_pb2.HealthCheckResponse, wanted):
            return True
        await asyncio.sleep(0.01)
    return False


async def test_health_follows_the_probe_and_loading_does_not_wait_for_it():
    well = False

    async def probe():
        return well

    async with (
        running(replace(echo(), probe=probe, probe_seconds=0.02)) as server,
        grpc.aio.insecure_channel(server.target) as channel,
    ):
        health = health_pb2_grpc.HealthStub(channel)
        for well in (False, True, False):
            wanted = "SERVING" if well else "NOT_SERVING"
            for name in ("", NAME):
                assert await becomes(health, name, wanted)
        live = await health.Check(health_pb2.HealthCheckRequest(service=LIVENESS), timeout=5)
        assert live.status == health_pb2.HealthCheckResponse.SERVING
        answer = await rpc.CaptionerServiceStub(channel).CaptionImage(request(), timeout=5)
        assert answer.caption, "calls are answered; the handler knows what it cannot do"


async def test_a_probe_that_breaks_counts_as_failed_and_is_asked_again():
    answers = [True, OSError("gone"), True]

    async def probe():
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with (
        running(replace(echo(), probe=probe, probe_seconds=0.3)) as server,
        grpc.aio.insecure_channel(server.target) as channel,
    ):
        health = health_pb2_grpc.HealthStub(channel)
        for wanted in ("SERVING", "NOT_SERVING", "SERVING"):
            assert await becomes(health, NAME, wanted)
