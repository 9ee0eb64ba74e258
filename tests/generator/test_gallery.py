"""Object keys follow what determines an image, and nothing else."""

import dataclasses

import numpy as np
import pytest

from diffusion.card import ModelCard
from generator.engine.conditions.concat import Concat
from generator.engine.conditions.start import Start
from generator.engine.conditions.unclip import Unclip
from generator.engine.items import Item
from generator.gallery import Gallery, key_of
from servicekit.storage import MemoryStore
from tests.generator.conftest import picture

CARD = ModelCard(
    name="text",
    folder=None,
    mode="text",
    pipeline="StableDiffusionPipeline",
    digest="d1",
    text_encoder="e",
    text_shapes={"text": (2, 3)},
    token_widths={"text_encoder": 3},
    image_encoder="",
    image_dimension=0,
    width=32,
    height=32,
    default_steps=5,
    default_guidance_scale=3.0,
)
ITEM = Item("text", seed=1, steps=5, guidance_scale=3.0, text="a dog")


def key(item=ITEM, card=CARD, signature="float32"):
    return key_of(item, card, signature, "generated")


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 2},
        {"seed": 2**64 - 1},
        {"steps": 6},
        {"guidance_scale": 3.5},
        {"guidance_scale": 1.0},
        {"text": "a cat"},
        {"text": {"text": np.zeros((2, 3), np.float32)}},
        {"negative": "fog"},
        {"deterministic": True},
        {"condition": Start(picture(0), 0.5)},
        {"condition": Concat(picture(0))},
        {"condition": Unclip(picture(0), 0)},
    ],
)
def test_everything_that_determines_the_image_is_in_the_key(change):
    assert key(dataclasses.replace(ITEM, **change)) != key()


def test_model_engine_and_source_are_in_the_key():
    first, second = (
        dataclasses.replace(ITEM, condition=Start(picture(0), 0.5, sha256=sha256))
        for sha256 in ("s1", "s2")
    )
    keys = {
        key(first),
        key(second),
        key(first, dataclasses.replace(CARD, digest="d2")),
        key(first, dataclasses.replace(CARD, steps_version=2)),
        key(first, signature="float16"),
    }
    assert len(keys) == 5


def test_what_is_not_read_is_not_in_the_key():
    assert key(card=dataclasses.replace(CARD, name="renamed")) == key()
    unguided = dataclasses.replace(ITEM, guidance_scale=1.0)
    assert key(dataclasses.replace(unguided, guidance_scale=0.0, negative="fog")) == key(unguided)


def test_scales_that_travelled_as_float32_have_the_same_key():
    travelled = dataclasses.replace(ITEM, guidance_scale=float(np.float32(3.1)))
    assert key(travelled) == key(dataclasses.replace(ITEM, guidance_scale=3.1))


def test_the_first_image_under_a_key_stands():
    gallery = Gallery(MemoryStore())
    assert gallery.find("generated/a.png") is None
    first = gallery.keep("generated/a.png", np.zeros((4, 6, 3), np.uint8))
    second = gallery.keep("generated/a.png", np.ones((4, 6, 3), np.uint8))
    assert (first.is_cached, second.is_cached) == (False, True)
    assert first.sha256 == second.sha256
    assert (second.width, second.height) == (6, 4)
