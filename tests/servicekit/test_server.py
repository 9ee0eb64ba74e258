"""A real server on port 0 with handlers of all four kinds (three services' protos lend them)."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from dataclasses import replace

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tests_ports import free_port
from variegate.captioner.v1 import captioner_pb2 as pb
from variegate.captioner.v1 import captioner_pb2_grpc as rpc

from servicekit.channels import open_channel, service_config
from servicekit.errors import (
    Internal,
    InvalidArgument,
    NotFound,
    Precondition,
    Unavailable,
    from_rpc_error,
)
from servicekit.server import LIVENESS, Service, running, start

NAME = "variegate.captioner.v1.CaptionerService"
DESCRIPTOR = pb.DESCRIPTOR.services_by_name["CaptionerService"]


class Echo(rpc.CaptionerServiceServicer):
    """Answers with the prefix; some URIs make it fail."""

    async def CaptionImage(self, request, context):
        if request.image_uri == "store:missing":
            raise NotFound("no such image", resource=request.image_uri)
        if request.image_uri == "store:bug":
            raise RuntimeError("secret detail")
        if request.image_uri.startswith("missing"):
            raise InvalidArgument(f"{request.image_uri!r} is no URI", field="image_uri")
        if request.image_uri == "store:slow":
            await asyncio.sleep(30)
        return pb.CaptionImageResponse(caption=pb.Caption(text=request.prefix))

    async def StreamCaptions(self, requests, context):
        async for request in requests:
            if request.item_id == "bad":
                raise NotFound("no such image", resource="store:bad")
            yield pb.StreamCaptionsResponse(item_id=request.item_id)


def echo(load=lambda: asyncio.sleep(0)):
    return Service(
        name="captioner",
        full_names=(NAME,),
        register=lambda server: rpc.add_CaptionerServiceServicer_to_server(Echo(), server),
        load=load,
        close=lambda: asyncio.sleep(0),
    )


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


def request(uri="store:a", **fields):
    return pb.CaptionImageRequest(image_uri=uri, **fields)


async def test_a_call_is_answered(stub):
    assert (await stub.CaptionImage(request(prefix="hi"), timeout=5)).caption.text == "hi"


async def test_an_error_arrives_with_its_code_reason_and_resource(stub, fails):
    error = await fails(stub.CaptionImage(request("store:missing"), timeout=5))
    assert isinstance(error, NotFound)
    assert (error.message, error.resource) == ("no such image", "store:missing")


async def test_a_bug_arrives_as_internal_without_its_text(stub, fails):
    error = await fails(stub.CaptionImage(request("store:bug"), timeout=5))
    assert isinstance(error, Internal)
    assert "secret" not in error.message


async def test_a_field_that_breaks_its_proto_is_named(stub, fails):
    error = await fails(stub.CaptionImage(request(max_tokens=900), timeout=5))
    assert isinstance(error, InvalidArgument)
    assert error.field == "max_tokens"
    error = await fails(stub.CaptionImage(request(""), timeout=5))
    assert error.field == "image_uri"


async def test_an_error_in_mid_stream_comes_after_the_good_items(stub):
    def requests():
        for item in ("good", "bad", "never"):
            yield pb.StreamCaptionsRequest(item_id=item, request=request())

    seen, call = [], stub.StreamCaptions(requests())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for answer in call:
            seen.append(answer.item_id)
    assert seen == ["good"]
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_streamed_requests_are_validated_too(stub, fails):
    error = await fails(stub.StreamCaptions(iter([pb.StreamCaptionsRequest(item_id="x")])))
    assert isinstance(error, InvalidArgument)
    assert error.field == "request"


async def test_a_status_that_quotes_a_long_value_arrives_with_its_own_code(stub, fails):
    for uri in ("é" * 1024, "🐶" * 1024, "\x01" * 1024):
        error = await fails(stub.CaptionImage(request(f"missing {uri}"[:1024]), timeout=5))
        assert isinstance(error, InvalidArgument)
        assert "[cut, " in error.message


@pytest.mark.parametrize(
    "method",
    [
        f"/{NAME}/CaptionImage",
        "/grpc.health.v1.Health/Check",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ],
)
async def test_a_request_that_cannot_be_decoded_is_refused_without_a_trace(server, caplog, method):
    async with grpc.aio.insecure_channel(server.target) as bare:
        if "Reflection" in method:
            call = bare.stream_stream(method)(iter([b"\xff\xff"]), timeout=5)
        else:
            call = bare.unary_unary(method)(b"\xff\xff", timeout=5)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await (call.read() if "Reflection" in method else call)
    error = from_rpc_error(caught.value)
    assert (type(error), error.reason) == (InvalidArgument, "UNDECODABLE")
    assert "Error'" not in error.message and caplog.records == []


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


async def test_a_stream_that_is_refused_while_it_is_sent_ends_with_its_own_status(server):
    """grpc's client calls a write that meets the end of the call an internal error."""
    codes = Counter()
    async with grpc.aio.insecure_channel(server.target) as bare:
        for _ in range(100):
            parts = [b"\xff\xff", *[b"\x0a\x01a\x12\x09\x0a\x07store:a"] * 3]
            call = bare.stream_stream(f"/{NAME}/StreamCaptions")(iter(parts), timeout=5)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                async for _ in call:
                    pass
            codes[caught.value.code().name] += 1
    assert codes == {"INVALID_ARGUMENT": 100}


def test_a_write_that_met_the_end_of_its_call_may_be_repeated():
    error = grpc.aio.AioRpcError(
        grpc.StatusCode.INTERNAL, grpc.aio.Metadata(), grpc.aio.Metadata(),
        "Internal error from Core",
    )  # fmt: skip
    assert isinstance(from_rpc_error(error), Unavailable)


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


async def test_the_server_refuses_a_unary_call_without_a_deadline(server, fails):
    async with grpc.aio.insecure_channel(server.target) as bare:
        error = await fails(rpc.CaptionerServiceStub(bare).CaptionImage(request()))
    assert (error.field, error.reason) == ("deadline", "DEADLINE_REQUIRED")


async def test_the_channel_refuses_a_unary_call_without_a_deadline(stub):
    with pytest.raises(ValueError, match="without a timeout"):
        await stub.CaptionImage(request())


async def test_a_deadline_that_passes_stops_the_call(stub):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.CaptionImage(request("store:slow"), timeout=0.2)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


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


async def test_reflection_lists_the_service(channel):
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
    async for answer in stub.ServerReflectionInfo(asked):
        names = {service.name for service in answer.list_services_response.service}
    assert {NAME, "grpc.health.v1.Health"} <= names


async def test_calls_are_counted_by_method_and_code(server, stub, fails):
    await stub.CaptionImage(request(), timeout=5)
    await fails(stub.CaptionImage(request("store:missing"), timeout=5))
    method = f"/{NAME}/CaptionImage"
    for code in ("OK", "NOT_FOUND"):
        labels = {"method": method, "code": code}
        value = server.metrics.registry.get_sample_value("variegate_captioner_calls_total", labels)
        assert value == 1


async def test_a_port_in_use_is_named(server):
    with pytest.raises(Precondition, match=f"127.0.0.1:{server.port}: the port is in use"):
        await start(echo(), server.target)


def test_only_idempotent_methods_are_retried():
    from variegate.captioner.v1 import captioner_pb2
    from variegate.gateway.v1 import gateway_pb2

    config = service_config(
        captioner_pb2.DESCRIPTOR.services_by_name["CaptionerService"],
        gateway_pb2.DESCRIPTOR.services_by_name["GatewayService"],
    )
    assert '"CaptionImage"' in config
    assert "UNAVAILABLE" in config


PROCESS = """
    import asyncio, sys
    from dataclasses import dataclass
    sys.path.insert(0, "tests/servicekit")
    from test_server import echo
    from servicekit.server import run

    @dataclass(frozen=True)
    class Settings:
        pass

    run(lambda settings, store: echo(), Settings, "captioner")
"""


async def test_sigterm_drains_the_call_in_flight_and_exits_cleanly(tmp_path):
    port = free_port()
    environ = {**os.environ, "SERVER_HOST": "127.0.0.1", "SERVER_PORT": str(port)}
    environ["SERVER_STORE"] = f"file://{tmp_path}"
    environ["PYTHONPATH"] = os.pathsep.join(["tests", *sys.path])
    code = [sys.executable, "-c", textwrap.dedent(PROCESS)]
    process = subprocess.Popen(code, env=environ, stderr=subprocess.PIPE)
    async with open_channel(f"127.0.0.1:{port}", DESCRIPTOR) as channel:
        await asyncio.wait_for(channel.channel_ready(), 30)
        stub = rpc.CaptionerServiceStub(channel)
        call = stub.StreamCaptions()
        await call.write(pb.StreamCaptionsRequest(item_id="one", request=request()))
        assert (await call.read()).item_id == "one"
        process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.5)
        await call.write(pb.StreamCaptionsRequest(item_id="two", request=request()))
        assert (await call.read()).item_id == "two"
        await call.done_writing()
        assert await call.read() == grpc.aio.EOF
    assert await asyncio.to_thread(process.wait, 20) == 0
    process.stderr.close()
