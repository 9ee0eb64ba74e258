"""How much a client may ask of a server at once."""

import asyncio

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from variegate.captioner.v1 import captioner_pb2 as pb
from variegate.captioner.v1 import captioner_pb2_grpc as rpc

from servicekit.errors import Exhausted, InvalidArgument
from servicekit.limits import METADATA_BYTES
from servicekit.server import running
from servicekit.server_settings import ServerSettings
from servicekit.settings import SettingsError, load
from tests.servicekit.echo import NAME, echo

IN_FLIGHT = "variegate_captioner_calls_in_flight"


def request(uri="store:a", **fields):
    return pb.CaptionImageRequest(image_uri=uri, **fields)


async def until(server, count):
    async with asyncio.timeout(20):
        while server.metrics.registry.get_sample_value(IN_FLIGHT) != count:
            await asyncio.sleep(0.01)


async def test_a_request_beyond_the_limit_is_refused_for_good(fails):
    async with (
        running(echo(), settings=ServerSettings(max_message_bytes=2**16)) as server,
        grpc.aio.insecure_channel(server.target) as bare,
    ):
        call = bare.unary_unary(f"/{NAME}/CaptionImage")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(b"\x0a" * (2**16 + 1), timeout=20)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        error = await fails(call(b"\x0a" * (2**16 + 1), timeout=20))
        assert (type(error), error.reason) == (InvalidArgument, "REQUEST_TOO_LARGE")
        assert "65537 bytes, and the server takes 65536 at most (SERVER_MAX_MESSAGE_BYTES)" in (
            error.message
        )
        error = await fails(call(b"\x0a" * 2**16, timeout=20))
        assert error.reason == "UNDECODABLE", "as large as may be is looked at"


@pytest.mark.parametrize("part", [0.9, 1.1])
async def test_metadata_beyond_the_limit_is_refused_and_never_below(server, fails, part):
    value = "x" * int(METADATA_BYTES * part)
    async with grpc.aio.insecure_channel(server.target) as bare:
        for _ in range(10 if part < 1 else 2):
            call = rpc.CaptionerServiceStub(bare).CaptionImage(
                request(prefix="heard"), timeout=20, metadata=(("authorization", value),)
            )
            if part < 1:
                assert (await call).caption.text == "heard"
            else:
                error = await fails(call)
                assert (type(error), error.reason) == (InvalidArgument, "METADATA_TOO_LARGE")
                assert "SERVER_MAX_METADATA_BYTES" in error.message


async def test_calls_beyond_the_limit_are_told_when_to_try_again(fails):
    async with (
        running(echo(), settings=ServerSettings(max_calls=2)) as server,
        grpc.aio.insecure_channel(server.target) as bare,
    ):
        stub = rpc.CaptionerServiceStub(bare)
        slow = [stub.CaptionImage(request("store:slow"), timeout=60) for _ in range(2)]
        await until(server, 2)
        for call in (stub.CaptionImage(request(), timeout=20), stub.StreamCaptions(timeout=20)):
            error = await fails(call)
            assert (type(error), error.reason) == (Exhausted, "TOO_MANY_CALLS")
            assert error.retry_after == 1.0 and "SERVER_MAX_CALLS" in error.message
        query = health_pb2.HealthCheckRequest()
        await health_pb2_grpc.HealthStub(bare).Check(query, timeout=20)
        slow[0].cancel()
        await until(server, 1)
        assert (await stub.CaptionImage(request(prefix="heard"), timeout=20)).caption.text
        slow[1].cancel()


async def test_calls_of_one_connection_beyond_its_limit_wait_for_the_others():
    async with (
        running(echo(), settings=ServerSettings(max_connection_calls=1)) as server,
        grpc.aio.insecure_channel(server.target) as bare,
        grpc.aio.insecure_channel(server.target, [("grpc.use_local_subchannel_pool", 1)]) as other,
    ):
        stub = rpc.CaptionerServiceStub(bare)
        slow = stub.CaptionImage(request("store:slow"), timeout=60)
        await until(server, 1)
        waiting = stub.CaptionImage(request(prefix="heard"), timeout=20)
        heard = await rpc.CaptionerServiceStub(other).CaptionImage(
            request(prefix="elsewhere"), timeout=20
        )
        assert heard.caption.text == "elsewhere" and not waiting.done()
        slow.cancel()
        assert (await waiting).caption.text == "heard"


async def test_a_stream_of_more_requests_than_one_call_may_send_is_cut_off_in_a_sentence(fails):
    asked = [pb.StreamCaptionsRequest(item_id=name, request=request()) for name in "abc"]
    async with (
        running(echo(), settings=ServerSettings(max_streamed_requests=2)) as server,
        grpc.aio.insecure_channel(server.target) as bare,
    ):
        call = rpc.CaptionerServiceStub(bare).StreamCaptions(iter(asked), timeout=20)
        answers = aiter(call)
        assert [(await anext(answers)).item_id for _ in range(2)] == ["a", "b"]
        error = await fails(answers)
        assert (type(error), error.reason) == (InvalidArgument, "STREAM_TOO_LONG")
        assert "more than 2 requests" in error.message
        call = rpc.CaptionerServiceStub(bare).StreamCaptions(iter(asked[:2]), timeout=20)
        assert [answer.item_id async for answer in call] == ["a", "b"]


@pytest.mark.parametrize("name", ["MAX_MESSAGE_BYTES", "MAX_METADATA_BYTES", "MAX_CALLS"])
def test_a_server_that_could_answer_nothing_does_not_start(name):
    with pytest.raises(SettingsError, match=f"SERVER_{name} is '0'"):
        load(ServerSettings, {f"SERVER_{name}": "0"}, "SERVER")
