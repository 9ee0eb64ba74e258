"""What the service does, whatever makes its images: the engine in process, or Triton."""

import asyncio
import hashlib
import io

import numpy as np
from PIL import Image
from variegate.generator.v1 import generator_pb2 as pb

from imaging.encode import encode_png
from servicekit.storage import to_key
from tests.generator.calls import (
    PHOTO,
    TIMEOUT,
    answers,
    item,
    models_of,
    request,
    start,
    tensor,
)


async def test_models_are_listed_with_what_they_take(stub, nano_engine):
    models = await models_of(stub)
    assert list(models) == ["pix2pix", "text", "unclip"]
    assert [models[name].mode for name in models] == ["pix2pix", "text", "unclip"]
    assert list(models["text"].text_shape) == list(nano_engine.card("text").text_shape)
    assert models["text"].image_encoder == ""
    assert models["unclip"].image_dimension == nano_engine.card("unclip").image_dimension
    assert len({model.digest for model in models.values()}) == 3


async def test_tokens_are_counted_as_the_text_encoder_would_read_them(stub, nano_engine):
    texts = ["", "a photo of a dog", "a photo of a dog " * 20]
    answer = await stub.CountTokens(
        pb.CountTokensRequest(model="text", texts=texts), timeout=TIMEOUT
    )
    assert list(answer.token_counts) == [2, 7, 2 + 5 * 20]
    assert answer.token_limit == nano_engine.card("text").text_shape[0]
    request_ = pb.EncodePromptsRequest(model="text", prompts=[texts[2], texts[2] + " in the rain"])
    cut, longer = (await stub.EncodePrompts(request_, timeout=TIMEOUT)).embeddings
    assert cut.data == longer.data  # What is over the limit is not read.


async def test_an_image_is_stored_as_png_and_answered_with_its_digest(stub, store):
    image = (await answers(stub, request(item(seed=5))))["a"].image
    data = store.get(to_key(image.uri))
    assert hashlib.sha256(data).hexdigest() == image.sha256
    picture = Image.open(io.BytesIO(data))
    assert (picture.format, picture.size) == ("PNG", (image.width, image.height))
    assert image.uri.startswith("store:generated/")
    assert (image.cached, image.steps, image.guidance_scale) == (False, 3, 3.0)
    assert image.compute_seconds > 0
    assert image.model_digest == (await models_of(stub))["text"].digest


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
    assert list(first.shape) == list((await models_of(stub))["text"].text_shape)
    assert first.data != null.data
    text = pb.TextCondition(embedding=first)
    made = await answers(stub, request(item("a", seed=3), pb.Item(item_id="b", seed=3, text=text)))
    pixels = [
        np.asarray(Image.open(io.BytesIO(store.get(to_key(made[name].image.uri))))).astype(int)
        for name in ("a", "b")
    ]
    assert np.abs(pixels[0] - pixels[1]).max() <= 2


async def test_a_mix_of_captions_conditions_like_its_embedding(stub, store):
    captions = ["a dog", "a red car in the rain"]
    encoded = await stub.EncodePrompts(
        pb.EncodePromptsRequest(model="text", prompts=captions), timeout=TIMEOUT
    )
    first, second = (np.frombuffer(one.data, "<f4") for one in encoded.embeddings)
    shape = encoded.embeddings[0].shape
    expected = second.reshape(shape).copy()
    expected[2:9] = first.reshape(shape)[2:9]
    expected[4, 1:7] = second.reshape(shape)[4, 1:7]
    by_value = pb.TextCondition(embedding=tensor(expected, encoded.embeddings[0].encoder))
    mix = pb.CaptionMix(
        captions=captions,
        start=1,
        coarse=[pb.CaptionMix.Rows(source=0, first=2, end=9)],
        fine=[pb.CaptionMix.Features(source=1, row=4, first=1, end=7)],
    )
    texts = {"value": by_value, "mix": pb.TextCondition(mix=mix)}
    wanted = [pb.Item(item_id=name, seed=3, text=text) for name, text in texts.items()]
    made = await answers(stub, request(*wanted))
    value, mixed = (
        np.asarray(Image.open(io.BytesIO(store.get(to_key(made[name].image.uri))))).astype(int)
        for name in ("value", "mix")
    )
    assert np.abs(value - mixed).max() <= 2
    again = (await answers(stub, request(wanted[1])))["mix"].image
    assert again.cached and again.uri == made["mix"].image.uri


async def test_encoded_images_condition_like_the_image(stub, store):
    encoded = await stub.EncodeImages(
        pb.EncodeImagesRequest(model="unclip", image_uris=[PHOTO, PHOTO]), timeout=TIMEOUT
    )
    embedding = encoded.embeddings[0]
    assert embedding.data == encoded.embeddings[1].data
    assert list(embedding.shape) == [(await models_of(stub))["unclip"].image_dimension]
    by_uri = pb.ImageCondition(unclip=pb.UnclipImage(image_uri=PHOTO))
    by_value = pb.ImageCondition(unclip=pb.UnclipImage(embedding=embedding))
    wanted = request(item("a", image=by_uri), item("b", image=by_value), model="unclip")
    made = await answers(stub, wanted)
    first, second = (
        np.asarray(Image.open(io.BytesIO(store.get(to_key(made[name].image.uri))))).astype(int)
        for name in ("a", "b")
    )
    assert np.abs(first - second).max() <= 2


async def test_half_precision_embeddings_are_taken(stub):
    text = (await models_of(stub))["text"]
    half = tensor(np.ones(text.text_shape), text.text_encoder, "<f2")
    made = await answers(stub, request(pb.Item(item_id="a", text={"embedding": half})))
    assert made["a"].image.width == 32


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
