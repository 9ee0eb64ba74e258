"""The two promises: within 2/255 whatever the batch, and bit-identical in deterministic mode."""

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from generator.engine.conditions.concat import Concat
from generator.engine.conditions.start import Start
from generator.engine.conditions.text import TextAlone
from generator.engine.conditions.unclip import Unclip
from generator.engine.items import Item
from tests.generator.conftest import picture

MODES = ["text", "image_to_image", "pix2pix", "unclip"]


@pytest.fixture(
    params=[
        "tiny_engine",
        "nano_engine",
        pytest.param("triton_backend", marks=[pytest.mark.servers, pytest.mark.heavy]),
    ]
)
def engine(request):
    """The engine on each of the two families, and inside Triton."""
    return request.getfixturevalue(request.param)


def example(mode, number):
    """The items differ in everything that may differ within a batch."""
    model = "text" if mode == "image_to_image" else mode
    condition = {
        "text": TextAlone,
        "image_to_image": lambda: Start(picture(number), 0.4 + 0.1 * (number % 5)),
        "pix2pix": lambda: Concat(picture(number), 1.0 + number % 2),
        "unclip": lambda: Unclip(picture(number), noise_level=100 * (number % 3)),
    }[mode]()
    return Item(
        model=model,
        seed=number,
        steps=3 + number % 3,
        guidance_scale=(1.0, 3.0, 7.5)[number % 3],
        text=f"a photo of {number} dogs",
        negative="a cat" if number % 2 else "",
        condition=condition,
    )


def made(engine, items):
    return [future.result(120).pixels for future in engine.submit_all(items)]


@pytest.mark.parametrize("mode", MODES)
def test_pixels_agree_within_two_levels_whatever_the_batch(engine, mode):
    items = [example(mode, number) for number in range(6)]
    alone = [made(engine, [item])[0] for item in items]
    for together in (made(engine, items), made(engine, items[::-1])[::-1]):
        for one, other in zip(alone, together, strict=True):
            assert np.abs(one.astype(int) - other.astype(int)).max() <= 2


@pytest.mark.parametrize("mode", MODES)
def test_deterministic_pixels_are_identical_in_any_company(engine, mode):
    items = [dataclasses.replace(example(mode, number), deterministic=True) for number in range(5)]
    alone = [made(engine, [item])[0] for item in items]

    @settings(max_examples=4, deadline=None, derandomize=True, database=None)
    @given(st.permutations(range(5)), st.integers(1, 5))
    def check(order, count):
        chosen = order[:count]
        together = made(engine, [items[number] for number in chosen])
        for number, pixels in zip(chosen, together, strict=True):
            assert np.array_equal(alone[number], pixels), f"item {number} in {chosen}"

    check()


def test_deterministic_items_that_join_midway_are_identical(tiny_engine):
    items = [
        dataclasses.replace(example("text", number), deterministic=True, steps=12)
        for number in range(4)
    ]
    alone = [made(tiny_engine, [item])[0] for item in items]
    futures = []
    for item in items:
        futures.append(tiny_engine.submit(item))
        tiny_engine.encode_prompts("text", ["wait for a step"]).result(60)
    for one, future in zip(alone, futures, strict=True):
        assert np.array_equal(one, future.result(60).pixels)


@pytest.mark.parametrize("mode", MODES)
def test_another_seed_gives_another_image(tiny_engine, mode):
    item = example(mode, 1)
    first, second = made(tiny_engine, [item, dataclasses.replace(item, seed=2)])
    assert not np.array_equal(first, second)


def test_seeds_that_differ_in_high_bits_only_give_other_images(tiny_engine):
    item = example("text", 1)
    first, second = made(tiny_engine, [item, dataclasses.replace(item, seed=1 + 2**32)])
    assert not np.array_equal(first, second)
    made(tiny_engine, [dataclasses.replace(item, seed=2**64 - 1)])


@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=4, unique=True))
def test_prompts_encode_to_the_same_bits_in_any_company(tiny_engine, numbers):
    prompts = [f"number {number}" for number in numbers]
    together = tiny_engine.encode_prompts("text", prompts).result(60)
    for prompt, embedding in zip(prompts, together, strict=True):
        tiny_engine.encode_prompts("text", [f"other {n}" for n in range(16)]).result(60)
        [alone] = tiny_engine.encode_prompts("text", [prompt]).result(60)
        assert np.array_equal(alone["text"], embedding["text"])
