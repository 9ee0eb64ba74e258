"""The service's health is what a real inference says, and no call hangs on a dead Triton."""

import asyncio
import os
import signal
import time
from concurrent.futures import FIRST_COMPLETED, wait
from contextlib import asynccontextmanager
from dataclasses import replace

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from variegate.generator.v1 import generator_pb2 as pb
from variegate.generator.v1 import generator_pb2_grpc as rpc

from generator.backends import start_triton
from generator.engine.items import Item
from generator.settings import GeneratorSettings
from generator.triton.launcher import LocalTriton
from generator.wiring import create_service
from servicekit.errors import Exhausted, Precondition, Unavailable
from servicekit.server import running
from servicekit.statuses import from_status
from servicekit.storage import MemoryStore
from tests.generator.calls import TIMEOUT, answers, item, request, until
from tests.generator.triton.conftest import Observed

pytestmark = [pytest.mark.servers, pytest.mark.heavy]

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
def triton(tmp_path, tiny_folder, weights_url):
    """A Triton of its own that is not started yet. What it shares in memory goes with it."""
    settings = GeneratorSettings(
        models_folder=tiny_folder, threads=1, shared_memory=True, probe_seconds=0.2
    )
    server = LocalTriton(tmp_path / "triton", settings, weights_url)
    yield server
    server.stop()


@asynccontextmanager
async def front(triton, store):
    """The service's stub, and a function that returns its health."""
    name = pb.DESCRIPTOR.services_by_name["GeneratorService"].full_name
    async with (
        running(create_service(triton.settings, store)) as server,
        grpc.aio.insecure_channel(server.target) as channel,
    ):
        health = health_pb2_grpc.HealthStub(channel)

        async def status():
            request = health_pb2.HealthCheckRequest(service=name)
            return (await health.Check(request, timeout=10)).status

        yield rpc.GeneratorServiceStub(channel), status


async def becomes(status, wanted, seconds=30.0):
    async with asyncio.timeout(seconds):
        while await status() != wanted:
            await asyncio.sleep(0.05)


async def test_a_service_without_triton_says_so_and_is_ready_when_it_appears(triton, store, fails):
    async with front(triton, store) as (stub, status):
        assert await status() == NOT_SERVING
        error = await fails(stub.GenerateImages(request(item()), timeout=TIMEOUT))
        assert isinstance(error, Unavailable)
        assert error.reason == "TRITON_UNAVAILABLE"
        assert triton.target in error.message
        assert error.retry_after > 0
        encode = pb.EncodePromptsRequest(model="text", prompts=["needs no Triton"])
        assert (await stub.EncodePrompts(encode, timeout=TIMEOUT)).embeddings
        await asyncio.to_thread(triton.start)
        await becomes(status, SERVING)
        assert (await answers(stub, request(item())))["a"].WhichOneof("result") == "image"


async def test_a_dead_stub_fails_what_runs_and_the_service_serves_again_after_a_restart(
    triton, store
):
    await asyncio.to_thread(triton.start)
    observed = Observed(triton)
    wanted = request(*(item(str(n), seed=n) for n in range(16)), steps=200)
    async with front(triton, store) as (stub, status):
        await becomes(status, SERVING)
        kept = (await answers(stub, request(item("first", seed=99))))["first"].image
        before = observed.steps()
        call = asyncio.create_task(answers(stub, wanted))
        await until(lambda: observed.steps() > before)
        observed.stub().kill()
        failed = [
            answer for answer in (await call).values() if answer.WhichOneof("result") == "error"
        ]
        assert failed, "the stub was killed too late"
        assert {from_status(answer.error).reason for answer in failed} == {"TRITON_UNAVAILABLE"}
        await becomes(status, NOT_SERVING)
        await asyncio.to_thread(triton.kill)
        await asyncio.to_thread(triton.start)
        await becomes(status, SERVING)
        made = await answers(stub, wanted)
        assert all(answer.WhichOneof("result") == "image" for answer in made.values())
        again = (await answers(stub, request(item("first", seed=99))))["first"].image
        assert again.cached
        assert again.uri == kept.uri


async def test_a_killed_server_is_noticed_in_mid_call(triton, store):
    await asyncio.to_thread(triton.start)
    observed = Observed(triton)
    async with front(triton, store) as (stub, status):
        await becomes(status, SERVING)
        before = observed.steps()
        call = asyncio.create_task(answers(stub, request(item(), steps=200)))
        await until(lambda: observed.steps() > before)
        await asyncio.to_thread(triton.kill)
        error = from_status((await call)["a"].error)
        assert isinstance(error, Unavailable)
        assert triton.target in error.message
        await becomes(status, NOT_SERVING)


async def test_a_stub_that_answers_nothing_is_not_healthy(triton, store, fails):
    await asyncio.to_thread(triton.start)
    triton.settings = replace(triton.settings, probe_timeout_seconds=1.0)
    stub_process = Observed(triton).stub()
    async with front(triton, store) as (stub, status):
        await becomes(status, SERVING)
        os.kill(stub_process.pid, signal.SIGSTOP)
        await becomes(status, NOT_SERVING)
        error = await fails(stub.GenerateImages(request(item()), timeout=TIMEOUT))
        assert isinstance(error, Unavailable)
        # Triton notices it, too, after about the same time.
        assert "no answer within 1 s" in error.message or "not healthy" in error.message


def test_a_full_line_in_triton_says_when_to_try_again(triton_server):
    # This front takes more than the engine's line holds, as several fronts may together.
    settings = replace(triton_server.settings, max_queue=1024)
    backend = start_triton(settings, MemoryStore())
    try:
        assert backend.is_healthy()
        futures = backend.submit_all([Item("text", n, 1000, 1.0) for n in range(400)])
        done, _ = wait(futures, 30, FIRST_COMPLETED)
        error = done.pop().exception()
        assert isinstance(error, Exhausted)
        assert "the limit is 256" in error.message
        assert error.retry_after > 0
        for future in futures:
            future.cancel()
    finally:
        backend.close()


def test_a_triton_that_is_full_of_long_items_is_healthy(triton_server):
    settings = replace(triton_server.settings, probe_timeout_seconds=3.0)
    backend = start_triton(settings, MemoryStore())
    try:
        assert backend.is_healthy()
        futures = backend.submit_all([Item("text", n, 1000, 1.0) for n in range(64)])
        time.sleep(1.0)
        assert all(backend.is_healthy() for _ in range(3))
        assert not any(future.done() for future in futures)
        for future in futures:
            future.cancel()
    finally:
        backend.close()


async def test_a_front_with_other_models_than_triton_is_not_healthy(triton_server, tiny_folder):
    settings = replace(triton_server.settings, models_folder=tiny_folder)
    backend = start_triton(settings, MemoryStore())
    try:
        assert not backend.is_healthy()
        with pytest.raises(Precondition, match=r"expects model .* Triton has model"):
            backend.submit_all([Item("text", 0, 1, 1.0)])
    finally:
        backend.close()
