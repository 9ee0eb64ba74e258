"""The images that condition a call: few are held at full size, and the bits are those of all."""

import asyncio
import weakref

import numpy as np
import pytest
from PIL import Image
from variegate.generator.v1 import generator_pb2 as pb

import generator.sources
from diffusion.fixed_shapes import ENCODER_ROWS
from generator.engine.conditions.concat import Concat
from generator.engine.conditions.start import Start
from generator.engine.conditions.unclip import Unclip
from generator.engine.items import Item
from generator.sources import AT_ONCE
from imaging.decode import decode_image
from imaging.encode import encode_png
from servicekit.storage import to_key
from tests.generator.calls import TIMEOUT, answers, item, request, start

SIZE, COUNT = (900, 600), 24


@pytest.fixture
def large(store):
    """URIs of pictures that are much larger than the models'."""
    uris = [f"store:images/large-{number}.png" for number in range(COUNT)]
    random = np.random.default_rng(0)
    for uri in uris:
        colours = random.integers(0, 255, (4, 6, 3), dtype=np.uint8)
        picture = Image.fromarray(colours).resize(SIZE, Image.Resampling.BICUBIC)
        store.put(to_key(uri), encode_png(picture))
    return uris


@pytest.fixture
def most_alive(monkeypatch):
    """Watches decoded pictures of full size; answers how many there were at most."""
    decoded, most = [], []

    def decode(data, key):
        image = decode_image(data, key)
        if image.size == SIZE:
            decoded.append(weakref.ref(image))
            most.append(sum(one() is not None for one in decoded))
        return image

    monkeypatch.setattr(generator.sources, "decode_image", decode)
    return lambda: max(most)


def concat(uri):
    return pb.ImageCondition(concat=pb.ConcatImage(image_uri=uri))


def unclip(uri):
    return pb.ImageCondition(unclip=pb.UnclipImage(image_uri=uri))


@pytest.mark.parametrize(
    ("model", "condition"),
    [("text", lambda uri: start(uri, 0.5)), ("pix2pix", concat), ("unclip", unclip)],
    ids=["start", "concat", "unclip"],
)
async def test_a_call_holds_few_pictures_of_full_size(stub, large, most_alive, model, condition):
    items = [item(uri, image=condition(uri)) for uri in large]
    made = await answers(stub, request(*items, model=model, steps=2))
    assert all(answer.HasField("image") for answer in made.values())
    assert most_alive() <= 2 * AT_ONCE


async def test_embedding_holds_few_pictures_of_full_size(stub, large, most_alive):
    await stub.EncodeImages(
        pb.EncodeImagesRequest(model="unclip", image_uris=large), timeout=TIMEOUT
    )
    assert most_alive() <= 2 * AT_ONCE * ENCODER_ROWS < COUNT


@pytest.mark.parametrize(
    ("model", "condition", "engines"),
    [
        ("text", lambda uri: start(uri, 0.5), lambda image: Start(image, 0.5)),
        ("pix2pix", concat, Concat),
        ("unclip", unclip, Unclip),
    ],
    ids=["start", "concat", "unclip"],
)
async def test_the_pixels_are_those_of_the_engine_given_the_full_picture(
    backend, stub, store, large, model, condition, engines
):
    wanted = item("a", image=condition(large[0]), seed=7)
    made = (await answers(stub, request(wanted, model=model, deterministic=True)))["a"].image
    full = decode_image(store.get(to_key(large[0])))
    direct = Item(model, 7, 3, 3.0, "a dog", condition=engines(full), deterministic=True)
    [future] = backend.submit_all([direct])
    pixels = (await asyncio.wrap_future(future)).pixels
    assert np.array_equal(np.asarray(decode_image(store.get(to_key(made.uri)))), pixels)


async def test_embeddings_are_those_of_the_engine_given_all_pictures(backend, stub, store, large):
    uris = [*large[:6], large[0]]
    answer = await stub.EncodeImages(
        pb.EncodeImagesRequest(model="unclip", image_uris=uris), timeout=TIMEOUT
    )
    images = [decode_image(store.get(to_key(uri))) for uri in uris]
    rows = await asyncio.wrap_future(backend.encode_images("unclip", images))
    assert [one.data for one in answer.embeddings] == [row.tobytes() for row in rows]
