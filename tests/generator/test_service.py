"""The service over a real channel: images, errors, repeats, cancellation."""

import asyncio
import hashlib
import io
import threading
import time
from contextlib import asynccontextmanager

import grpc
import numpy as np
import pytest
from PIL import Image
from variegate.generator.v1 import generator_pb2 as pb
from variegate.generator.v1 import generator_pb2_grpc as rpc

from generator.engine.engine import Engine
from generator.engine.registry import scan
from generator.engine.settings import EngineSettings
from generator.settings import GeneratorSettings
from generator.wiring import create_service
from imaging.encode import encode_png
from servicekit.channels import open_channel
from servicekit.errors import Exhausted, Precondition, from_status
from servicekit.server import running
from servicekit.storage import MemoryStore, to_key
from tests.generator import tiny

TIMEOUT = 120.0
PHOTO, NOISE = "store:images/photo.png", "store:images/noise.txt"


class Borrowed:
    """An engine that outlives the service that uses it."""

    def __init__(self, engine):
        self._engine = engine

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def close(self):
        pass


@pytest.fixture
def store(photo):
    store = MemoryStore()
    store.put(to_key(PHOTO), encode_png(photo))
    store.put(to_key(NOISE), b"this is not an image")
    return store


@asynccontextmanager
async def serving(engine, store):
    service = create_service(GeneratorSettings(), store, lambda settings, store: Borrowed(engine))
    async with (
        running(service) as server,
        open_channel(server.target, pb.DESCRIPTOR.services_by_name["GeneratorService"]) as channel,
    ):
        yield rpc.GeneratorServiceStub(channel)


@pytest.fixture
async def stub(tiny_engine, store):
    async with serving(tiny_engine, store) as stub:
        yield stub


def request(*items, model="text", steps=3, scale=3.0, **sampling):
    return pb.GenerateImagesRequest(
        model=model,
        sampling=pb.SamplingParameters(steps=steps, guidance_scale=scale, **sampling),
        items=items,
    )


def item(item_id="a", prompt="a dog", **values):
    return pb.Item(item_id=item_id, text=pb.TextCondition(prompt=prompt), **values)


def tensor(values, encoder, kind="<f4"):
    number = pb.DATA_TYPE_FLOAT16 if kind == "<f2" else pb.DATA_TYPE_FLOAT32
    array = np.asarray(values, dtype=kind)
    return pb.Tensor(data=array.tobytes(), shape=array.shape, data_type=number, encoder=encoder)


async def answers(stub, wanted):
    return {r.item_id: r async for r in stub.GenerateImages(wanted, timeout=TIMEOUT)}


async def error_of(stub, wanted, item_id="a"):
    answer = (await answers(stub, wanted))[item_id]
    assert answer.WhichOneof("result") == "error", answer
    return from_status(answer.error)


async def text_model(stub):
    models = (await stub.ListModels(pb.ListModelsRequest(), timeout=TIMEOUT)).models
    return {model.name: model for model in models}


async def test_models_are_listed_with_what_they_take(stub):
    models = await text_model(stub)
    assert list(models) == ["pix2pix", "text", "unclip"]
    assert [models[name].mode for name in models] == ["pix2pix", "text", "unclip"]
    assert list(models["text"].text_shape) == [tiny.TOKENS, tiny.WIDTH]
    assert models["text"].image_encoder == ""
    assert models["unclip"].image_dimension == tiny.DIMENSION
    assert len({model.digest for model in models.values()}) == 3


async def test_an_image_is_stored_as_png_and_answered_with_its_digest(stub, store):
    image = (await answers(stub, request(item(seed=5))))["a"].image
    data = store.get(to_key(image.uri))
    assert hashlib.sha256(data).hexdigest() == image.sha256
    picture = Image.open(io.BytesIO(data))
    assert (picture.format, picture.size) == ("PNG", (image.width, image.height))
    assert image.uri.startswith("store:generated/")
    assert (image.cached, image.steps, image.guidance_scale) == (False, 3, 3.0)
    assert image.compute_seconds > 0
    assert image.model_digest == (await text_model(stub))["text"].digest


async def test_a_repeat_is_answered_from_storage(stub):
    first = (await answers(stub, request(item("a", seed=6))))["a"].image
    second = (await answers(stub, request(item("other name", seed=6))))["other name"].image
    assert second.cached
    assert (second.uri, second.sha256, second.width) == (first.uri, first.sha256, first.width)
    assert second.compute_seconds == 0


async def test_what_determines_an_image_changes_its_key(stub):
    variants = [
        request(item(seed=1)),
        request(item(seed=2)),
        request(item(seed=1, prompt="a cat")),
        request(item(seed=1), steps=4),
        request(item(seed=1), scale=2.0),
        request(item(seed=1), deterministic=True),
        request(item(seed=1, negative=pb.TextCondition(prompt="fog"))),
        request(item(seed=1, image=start(PHOTO, 0.5))),
        request(item(seed=1, image=start(PHOTO, 0.6))),
    ]
    made = [(await answers(stub, wanted))["a"].image for wanted in variants]
    assert len({image.uri for image in made}) == len(variants)


async def test_the_key_follows_the_bytes_of_the_source_not_its_name(stub, store, photo):
    same, other = "store:images/copy.png", "store:images/other.png"
    store.put(to_key(same), store.get(to_key(PHOTO)))
    store.put(to_key(other), encode_png(photo.rotate(90)))
    uris = [
        (await answers(stub, request(item(image=start(uri, 0.5)))))["a"].image.uri
        for uri in (PHOTO, same, other)
    ]
    assert uris[0] == uris[1] != uris[2]


def start(uri, strength):
    return pb.ImageCondition(start=pb.StartImage(image_uri=uri, strength=strength))


async def test_every_mode_makes_images(stub):
    concat = pb.ImageCondition(concat=pb.ConcatImage(image_uri=PHOTO, image_guidance_scale=1.5))
    unclip = pb.ImageCondition(unclip=pb.UnclipImage(image_uri=PHOTO, noise_level=5))
    for wanted in (
        request(item(image=start(PHOTO, 0.6))),
        request(pb.Item(item_id="a", image=start(PHOTO, 0.6)), scale=1.0),
        request(item(image=concat), model="pix2pix"),
        request(item(image=unclip), model="unclip", deterministic=True),
    ):
        assert (await answers(stub, wanted))["a"].image.width == 32


async def test_encoded_prompts_condition_like_the_prompt(stub, store):
    encoded = await stub.EncodePrompts(
        pb.EncodePromptsRequest(model="text", prompts=["a dog", ""]), timeout=TIMEOUT
    )
    first, null = encoded.embeddings
    assert list(first.shape) == [tiny.TOKENS, tiny.WIDTH]
    assert first.data != null.data
    text = pb.TextCondition(embedding=first)
    made = await answers(stub, request(item("a", seed=3), pb.Item(item_id="b", seed=3, text=text)))
    pixels = [
        np.asarray(Image.open(io.BytesIO(store.get(to_key(made[name].image.uri))))).astype(int)
        for name in ("a", "b")
    ]
    assert np.abs(pixels[0] - pixels[1]).max() <= 2


async def test_encoded_images_condition_like_the_image(stub, store):
    encoded = await stub.EncodeImages(
        pb.EncodeImagesRequest(model="unclip", image_uris=[PHOTO, PHOTO]), timeout=TIMEOUT
    )
    embedding = encoded.embeddings[0]
    assert embedding.data == encoded.embeddings[1].data
    assert list(embedding.shape) == [tiny.DIMENSION]
    by_uri = pb.ImageCondition(unclip=pb.UnclipImage(image_uri=PHOTO))
    by_value = pb.ImageCondition(unclip=pb.UnclipImage(embedding=embedding))
    wanted = request(item("a", image=by_uri), item("b", image=by_value), model="unclip")
    made = await answers(stub, wanted)
    first, second = (
        np.asarray(Image.open(io.BytesIO(store.get(to_key(made[name].image.uri))))).astype(int)
        for name in ("a", "b")
    )
    assert np.abs(first - second).max() <= 2


async def test_a_model_without_image_encoder_says_so(stub, fails):
    wanted = pb.EncodeImagesRequest(model="text", image_uris=[PHOTO])
    error = await fails(stub.EncodeImages(wanted, timeout=TIMEOUT))
    assert isinstance(error, Precondition)
    assert "no image encoder" in error.message


async def test_an_unknown_model_is_told_the_known_ones(stub, fails):
    error = await fails(stub.GenerateImages(request(item(), model="sd9"), timeout=TIMEOUT))
    assert error.code is grpc.StatusCode.NOT_FOUND
    assert "pix2pix, text, unclip" in error.message


async def test_repeated_item_ids_are_refused(stub, fails):
    error = await fails(stub.GenerateImages(request(item("x"), item("x")), timeout=TIMEOUT))
    assert (error.code, error.field) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "items[1].item_id",
    )
    assert "'x'" in error.message


async def test_one_bad_item_has_its_own_error_and_the_others_are_made(stub):
    made = await answers(
        stub,
        request(
            item("good", seed=11),
            item("missing", image=start("store:images/none.png", 0.5)),
            item("damaged", image=start(NOISE, 0.5)),
            item("outside", image=start("store:../../etc/passwd", 0.5)),
        ),
    )
    assert made["good"].WhichOneof("result") == "image"
    errors = {name: from_status(made[name].error) for name in ("missing", "damaged", "outside")}
    assert errors["missing"].code is grpc.StatusCode.NOT_FOUND
    assert "images/none.png" in errors["missing"].message
    assert errors["damaged"].code is grpc.StatusCode.INVALID_ARGUMENT
    assert errors["damaged"].field == "items[2].image.start.image_uri"
    assert errors["damaged"].reason == "NOT_AN_IMAGE"
    assert errors["outside"].code is grpc.StatusCode.INVALID_ARGUMENT


def zeros(*shape):
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize(
    ("embedding", "reason", "words"),
    [
        (tensor(zeros(3, 4), "ENCODER"), "WRONG_SHAPE", "[3, 4]"),
        (tensor(zeros(12, 32) * np.nan, "ENCODER"), "NOT_FINITE", "NaN"),
        (tensor(zeros(12, 32), "clip-of-another"), "ENCODER_MISMATCH", "clip-of-another"),
        (
            pb.Tensor(
                data=b"abc", shape=[12, 32], data_type=pb.DATA_TYPE_FLOAT32, encoder="ENCODER"
            ),
            "WRONG_SIZE",
            "3 bytes",
        ),
    ],
)
async def test_a_wrong_embedding_is_named(stub, embedding, reason, words):
    own = (await text_model(stub))["text"].text_encoder
    if embedding.encoder == "ENCODER":
        embedding = pb.Tensor.FromString(embedding.SerializeToString())
        embedding.encoder = own
    wanted = request(pb.Item(item_id="a", text=pb.TextCondition(embedding=embedding)))
    error = await error_of(stub, wanted)
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert error.reason == reason
    assert error.field.startswith("items[0].text")
    assert words in error.message
    if reason == "ENCODER_MISMATCH":
        assert own in error.message


async def test_half_precision_embeddings_are_taken(stub):
    own = (await text_model(stub))["text"].text_encoder
    half = tensor(np.ones((12, 32)), own, "<f2")
    made = await answers(stub, request(pb.Item(item_id="a", text={"embedding": half})))
    assert made["a"].image.width == 32


@pytest.mark.parametrize(
    ("model", "image", "words"),
    [
        ("pix2pix", start(PHOTO, 0.5), "for models of mode 'text'"),
        ("text", pb.ImageCondition(concat=pb.ConcatImage(image_uri=PHOTO)), "mode 'pix2pix'"),
        (
            "text",
            pb.ImageCondition(unclip=pb.UnclipImage(embedding=tensor(zeros(16), "e"))),
            "mode 'unclip'",
        ),
        ("unclip", None, "needs the image condition 'unclip'"),
    ],
)
async def test_a_condition_that_does_not_fit_says_which_mode_takes_it(stub, model, image, words):
    error = await error_of(stub, request(item(image=image), model=model))
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert words in error.message


async def test_a_broken_image_is_an_error_and_nothing_is_stored(stub, store):
    own = (await text_model(stub))["text"].text_encoder
    huge = tensor(np.full((12, 32), 3e38), own)
    error = await error_of(stub, request(pb.Item(item_id="a", text={"embedding": huge})))
    assert (error.code, error.reason) == (grpc.StatusCode.INTERNAL, "BROKEN_IMAGE")
    assert list(store.list("generated")) == []


async def test_a_full_queue_says_when_to_try_again(tiny_folder, store, fails):
    engine = Engine(scan(tiny_folder, ["text"]), EngineSettings(max_queue=2))
    gate = threading.Event()
    try:
        async with serving(engine, store) as stub:
            engine._line.put_job(lambda: gate.wait(60) and None)
            wanted = request(item("a"), item("b"), item("c"))
            error = await fails(stub.GenerateImages(wanted, timeout=TIMEOUT))
            assert isinstance(error, Exhausted)
            assert error.retry_after > 0
            gate.set()
    finally:
        gate.set()
        engine.close()


async def test_cancelling_the_call_cancels_what_is_queued(tiny_folder, store):
    engine = Engine(scan(tiny_folder, ["text"]), EngineSettings())
    gate = threading.Event()
    try:
        async with serving(engine, store) as stub:
            engine._line.put_job(lambda: gate.wait(60) and None)
            call = stub.GenerateImages(request(*(item(str(n), seed=n) for n in range(5))))
            await until(lambda: engine.waiting_count() == 5)
            call.cancel()
            await until(lambda: engine.waiting_count() == 0)
            gate.set()
            assert list(store.list("generated")) == []
    finally:
        gate.set()
        engine.close()


async def until(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)


async def test_other_calls_are_answered_while_images_are_made(stub):
    slow = asyncio.create_task(answers(stub, request(*(item(str(n)) for n in range(8)), steps=60)))
    await asyncio.sleep(0.1)
    await stub.ListModels(pb.ListModelsRequest(), timeout=TIMEOUT)
    await stub.EncodePrompts(
        pb.EncodePromptsRequest(model="text", prompts=["between two steps"]), timeout=TIMEOUT
    )
    assert not slow.done()
    slow.cancel()


async def test_the_output_prefix_is_used_and_checked(stub, fails):
    wanted = request(item(seed=21))
    wanted.output_uri = "store:runs/one"
    assert (await answers(stub, wanted))["a"].image.uri.startswith("store:runs/one/")
    wanted.output_uri = "file:///tmp"
    error = await fails(stub.GenerateImages(wanted, timeout=TIMEOUT))
    assert error.field == "output_uri"


async def test_the_nano_models_are_served_by_default(tmp_path):
    service = create_service(GeneratorSettings(threads=1), MemoryStore())
    async with running(service) as server, open_channel(server.target) as channel:
        stub = rpc.GeneratorServiceStub(channel)
        models = await text_model(stub)
        assert {models[name].mode for name in models} == {"text", "pix2pix", "unclip"}
        wanted = pb.GenerateImagesRequest(model="text", items=[item()])
        image = (await answers(stub, wanted))["a"].image
        assert image.steps == models["text"].default_steps
        assert image.guidance_scale == models["text"].default_guidance_scale


async def test_a_folder_without_usable_models_stops_the_start(tmp_path):
    service = create_service(GeneratorSettings(models_folder=tmp_path), MemoryStore())
    with pytest.raises(Precondition, match="no model in"):
        async with running(service):
            pass
