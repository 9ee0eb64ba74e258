"""A real server on port 0 with handlers of all four kinds (three services' protos lend them)."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections import Counter

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tests_ports import free_port
from variegate.captioner.v1 import captioner_pb2 as pb
from variegate.captioner.v1 import captioner_pb2_grpc as rpc

from servicekit.channels import open_channel, service_config
from servicekit.errors import Internal, InvalidArgument, NotFound, Precondition, Unavailable
from servicekit.server import start
from servicekit.statuses import from_rpc_error
from tests.servicekit.echo import DESCRIPTOR, NAME, echo


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


async def test_calls_that_reach_a_server_as_it_drains_may_be_made_again():
    """gRPC for Python ends them as CANCELLED, which nobody asked for."""
    ends: Counter[str] = Counter()

    async def call(stub, stopped):
        request = pb.CaptionImageRequest(image_uri="a")
        while not stopped.is_set():
            try:
                await stub.CaptionImage(request, timeout=20)
            except grpc.aio.AioRpcError as error:
                ends[type(from_rpc_error(error)).__name__] += 1
                await asyncio.sleep(0)

    for _ in range(5):
        server, stopped = await start(echo()), asyncio.Event()
        await server.loaded
        async with grpc.aio.insecure_channel(server.target) as channel:
            stub = rpc.CaptionerServiceStub(channel)
            callers = [asyncio.create_task(call(stub, stopped)) for _ in range(20)]
            await asyncio.sleep(0.05)
            await server.stop(5)
            stopped.set()
            await asyncio.gather(*callers)
    assert ends.keys() == {"Unavailable"}


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


async def test_reflection_lists_the_service(channel):
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
    async for answer in stub.ServerReflectionInfo(asked):
        names = {service.name for service in answer.list_services_response.service}
    assert {NAME, "grpc.health.v1.Health"} <= names


async def _counted(server, labels):
    """Waits until one call is counted; that is done after its answer was sent."""
    count = server.metrics.registry.get_sample_value
    async with asyncio.timeout(10):
        while count("variegate_captioner_calls_total", labels) != 1:
            await asyncio.sleep(0.01)


async def test_calls_are_counted_by_method_and_code(server, stub, fails):
    await stub.CaptionImage(request(), timeout=5)
    await fails(stub.CaptionImage(request("store:missing"), timeout=5))
    method = f"/{NAME}/CaptionImage"
    for code in ("OK", "NOT_FOUND"):
        await _counted(server, {"method": method, "code": code})


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
    from dataclasses import dataclass
    from tests.servicekit.echo import echo
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
