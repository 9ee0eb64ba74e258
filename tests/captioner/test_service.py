import asyncio

import grpc
import pytest
from google.rpc import code_pb2
from variegate.captioner.v1 import captioner_pb2 as pb

from captioner.settings import CaptionerSettings
from captioner.wiring import create_service
from servicekit.server import running
from servicekit.statuses import from_status


def asked(name, **fields):
    return pb.CaptionImageRequest(image_uri=f"store:images/{name}", **fields)


def items(*requests):
    return [
        pb.StreamCaptionsRequest(item_id=f"item {i}", request=request)
        for i, request in enumerate(requests)
    ]


async def test_a_caption_has_its_prefix_its_score_and_its_model(stub):
    request = asked("0.jpg", prefix="This is an image of dog")
    caption = (await stub.CaptionImage(request, timeout=60)).caption
    assert caption.text.startswith("This is an image of dog")
    assert -20 < caption.mean_log_prob <= 0
    name, _, digest = caption.model.partition("@")
    assert name == "captioner" and len(digest) == 12


async def test_the_same_image_has_the_same_caption(stub):
    first, second = [(await stub.CaptionImage(asked("1.jpg"), timeout=60)) for _ in range(2)]
    assert first == second
    assert first.caption.text


@pytest.mark.parametrize(
    ("request_", "code", "reason", "named"),
    [
        (asked("none.jpg"), "NOT_FOUND", "NOT_FOUND", "images/none.jpg"),
        (asked("broken.jpg"), "INVALID_ARGUMENT", "TRUNCATED", "store:images/broken.jpg"),
        (asked("words.jpg"), "INVALID_ARGUMENT", "NOT_AN_IMAGE", "store:images/words.jpg"),
        (pb.CaptionImageRequest(), "INVALID_ARGUMENT", "FIELD_OUT_OF_RANGE", "image_uri"),
        (asked("0.jpg", max_tokens=65), "INVALID_ARGUMENT", "FIELD_OUT_OF_RANGE", "max_tokens"),
        (pb.CaptionImageRequest(image_uri="/etc/passwd"), "INVALID_ARGUMENT", "BAD_URI", "passwd"),
    ],
)
async def test_what_is_wrong_with_an_image_is_said(stub, fails, request_, code, reason, named):
    error = await fails(stub.CaptionImage(request_, timeout=60))
    assert (error.code.name, error.reason) == (code, reason)
    assert named in error.message


async def test_a_stream_answers_every_item_and_a_bad_image_ends_nothing(stub):
    requests = items(asked("0.jpg"), asked("broken.jpg"), asked("none.jpg"), asked("2.jpg"))
    answers = {a.item_id: a async for a in stub.StreamCaptions(iter(requests), timeout=60)}
    assert sorted(answers) == ["item 0", "item 1", "item 2", "item 3"]
    assert answers["item 0"].caption.text and answers["item 3"].caption.text
    assert answers["item 1"].error.code == code_pb2.INVALID_ARGUMENT
    assert from_status(answers["item 2"].error).resource == "store:images/none.jpg"


async def test_a_stream_and_single_calls_say_the_same(stub):
    requests = items(*(asked(f"{i}.jpg", prefix="a photo of" * (i % 2)) for i in range(20)))
    streamed = {a.item_id: a.caption async for a in stub.StreamCaptions(iter(requests), timeout=90)}
    for item in requests[:4]:
        single = (await stub.CaptionImage(item.request, timeout=60)).caption
        assert streamed[item.item_id].text == single.text
        assert streamed[item.item_id].mean_log_prob == pytest.approx(single.mean_log_prob, abs=1e-3)


async def test_a_stream_is_slowed_down_where_the_queue_is_full(store, tiny_folder):
    settings = CaptionerSettings(
        model=tiny_folder, max_queue=1, max_batch=1, max_wait_ms=0, stream_window=8
    )
    async with running(create_service(settings, store)) as server:
        answers = await captions_of(server.target, items(*(asked(f"{i}.jpg") for i in range(10))))
    assert len(answers) == 10
    assert all(answer.HasField("caption") for answer in answers)


async def test_single_calls_beyond_the_queue_are_refused_with_a_time_to_come_back(
    store, tiny_folder, fails
):
    from variegate.captioner.v1 import captioner_pb2_grpc as rpc

    settings = CaptionerSettings(model=tiny_folder, max_queue=1, max_batch=1, max_wait_ms=0)
    async with (
        running(create_service(settings, store)) as server,
        grpc.aio.insecure_channel(server.target) as channel,
    ):
        stub = rpc.CaptionerServiceStub(channel)
        calls = [stub.CaptionImage(asked("0.jpg", max_tokens=64), timeout=60) for _ in range(24)]
        results = await asyncio.gather(*calls, return_exceptions=True)
    refused = [r for r in results if isinstance(r, grpc.aio.AioRpcError)]
    assert refused and len(refused) < 24
    assert {r.code() for r in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}


async def captions_of(target, requests):
    from variegate.captioner.v1 import captioner_pb2_grpc as rpc

    async with grpc.aio.insecure_channel(target) as channel:
        stream = rpc.CaptionerServiceStub(channel).StreamCaptions(iter(requests), timeout=60)
        return [answer async for answer in stream]
