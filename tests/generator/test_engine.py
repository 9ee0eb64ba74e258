"""The engine makes what diffusers' own pipelines make, and survives what goes wrong."""

import dataclasses
from contextlib import contextmanager

import diffusers
import numpy as np
import pytest
import torch

from diffusion.errors import BadCondition, BrokenImage, UnknownModel
from diffusion.registry import scan
from generator.engine.conditions.concat import Concat
from generator.engine.conditions.start import Start
from generator.engine.conditions.unclip import Unclip
from generator.engine.engine import Engine
from generator.engine.errors import OutOfMemory
from generator.engine.items import Item
from generator.engine.settings import EngineSettings
from tests.generator import tiny
from tests.generator.conftest import picture

TEXT = Item("text", seed=7, steps=4, guidance_scale=5.0, text="a dog", negative="a cat")


def made(engine, item):
    return engine.submit(item).result(120).pixels


def pipeline(folder, kind):
    loaded = getattr(diffusers, kind).from_pretrained(folder, dtype=torch.float32)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def reference(pipe, item, **inputs):
    """What diffusers makes of the item, as uint8 [h, w, 3]."""
    images = pipe(
        prompt=item.text,
        negative_prompt=item.negative,
        num_inference_steps=item.steps,
        guidance_scale=item.guidance_scale,
        generator=torch.Generator().manual_seed(item.seed),
        output_type="np",
        **inputs,
    ).images
    return (images[0] * 255).round().astype(np.uint8)


def assert_close(first, second):
    assert np.abs(first.astype(int) - second.astype(int)).max() <= 1


@pytest.mark.parametrize("scale", [1.0, 5.0])
def test_text_equals_the_pipeline(tiny_engine, tiny_folder, scale):
    item = dataclasses.replace(TEXT, guidance_scale=scale)
    pipe = pipeline(tiny_folder / "text", "StableDiffusionPipeline")
    assert_close(made(tiny_engine, item), reference(pipe, item))


def test_image_to_image_equals_the_pipeline(tiny_engine, tiny_folder, photo):
    item = dataclasses.replace(TEXT, condition=Start(photo, 0.75), steps=8)
    pipe = pipeline(tiny_folder / "text", "StableDiffusionImg2ImgPipeline")
    assert_close(made(tiny_engine, item), reference(pipe, item, image=photo, strength=0.75))


@pytest.mark.parametrize("image_scale", [1.0, 1.8])
def test_pix2pix_equals_the_pipeline(tiny_engine, tiny_folder, photo, image_scale):
    item = dataclasses.replace(TEXT, model="pix2pix", condition=Concat(photo, image_scale))
    pipe = pipeline(tiny_folder / "pix2pix", "StableDiffusionInstructPix2PixPipeline")
    expected = reference(pipe, item, image=photo, image_guidance_scale=image_scale)
    assert_close(made(tiny_engine, item), expected)


@pytest.mark.parametrize("scale", [1.0, 5.0])
def test_unclip_equals_the_pipeline(tiny_engine, tiny_folder, photo, scale):
    item = dataclasses.replace(
        TEXT, model="unclip", guidance_scale=scale, condition=Unclip(photo, 300)
    )
    pipe = pipeline(tiny_folder / "unclip", "StableUnCLIPImg2ImgPipeline")
    expected = reference(pipe, item, image=photo, noise_level=300)
    assert_close(made(tiny_engine, item), expected)


@pytest.mark.parametrize(
    "kind",
    [
        "DDPMScheduler",
        "EulerAncestralDiscreteScheduler",
        "DPMSolverMultistepScheduler",
        "HeunDiscreteScheduler",
    ],
)
def test_any_scheduler_draws_from_the_item_alone(tmp_path, kind):
    folder = tiny.save_text(tmp_path / "text", getattr(diffusers, kind)())
    engine = Engine(scan(tmp_path), EngineSettings())
    try:
        items = [dataclasses.replace(TEXT, seed=n, steps=3 + n % 2) for n in range(4)]
        together = [future.result(60).pixels for future in engine.submit_all(items)]
        for item, pixels in zip(items, together, strict=True):
            assert np.abs(pixels.astype(int) - made(engine, item).astype(int)).max() <= 2
        expected = reference(pipeline(folder, "StableDiffusionPipeline"), items[1])
        assert_close(together[1], expected)
    finally:
        engine.close()


def test_a_prompt_and_its_embedding_make_the_same_image(engine):
    [text, negative] = engine.encode_prompts("text", [TEXT.text, TEXT.negative]).result(60)
    as_embedding = dataclasses.replace(TEXT, text=text, negative=negative)
    assert np.array_equal(made(engine, TEXT), made(engine, as_embedding))


def test_without_guidance_the_negative_text_is_not_read(tiny_engine):
    item = dataclasses.replace(TEXT, guidance_scale=1.0)
    other = dataclasses.replace(item, negative="something else", guidance_scale=0.0)
    assert np.array_equal(made(tiny_engine, item), made(tiny_engine, other))


def test_without_guidance_the_unet_runs_one_row(tiny_engine):
    rows = []
    unet = tiny_engine._models["text"].pipeline.unet
    hook = unet.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    made(tiny_engine, dataclasses.replace(TEXT, guidance_scale=1.0))
    made(tiny_engine, TEXT)
    hook.remove()
    assert set(rows[:4]) == {1}
    assert set(rows[5:]) == {2}


def test_boomerang_keeps_more_of_the_image_the_less_it_noises(nano_engine):
    photo = picture(3)

    def distance(strength):
        item = Item("text", 1, 20, 1.0, condition=Start(photo, strength))
        return np.abs(made(nano_engine, item).astype(int) - np.asarray(photo).astype(int)).mean()

    assert distance(0.05) < distance(1.0)


def test_at_strength_0_boomerang_returns_the_image_itself(tiny_engine, photo):
    item = dataclasses.replace(TEXT, guidance_scale=1.0, condition=Start(photo, 0.0))
    steps = tiny_engine.step_count
    assert np.array_equal(made(tiny_engine, item), np.asarray(photo))
    assert tiny_engine.step_count == steps
    wide = photo.resize((32, 32)).crop((-16, 0, 48, 32))
    item = dataclasses.replace(item, condition=Start(wide, 0.0))
    assert np.array_equal(made(tiny_engine, item), np.asarray(photo)), "cropped, not squashed"


def test_a_strength_that_travelled_as_float32_runs_the_same_steps(tiny_engine, photo):
    exact = dataclasses.replace(TEXT, steps=30, condition=Start(photo, 0.7))
    travelled = dataclasses.replace(exact, condition=Start(photo, float(np.float32(0.7))))
    assert np.array_equal(made(tiny_engine, exact), made(tiny_engine, travelled))


def test_a_start_image_of_another_shape_is_cropped_not_squashed(tiny_engine, photo):
    wide = photo.resize((32, 32)).crop((-16, 0, 48, 32))
    item = dataclasses.replace(TEXT, condition=Start(photo, 0.5))
    assert np.array_equal(
        made(tiny_engine, item),
        made(tiny_engine, dataclasses.replace(item, condition=Start(wide, 0.5))),
    )


def test_a_broken_item_does_not_fail_its_batch(tiny_engine):
    huge = {"text": np.full((tiny.TOKENS, tiny.WIDTH), 3e38, dtype=np.float32)}
    broken = dataclasses.replace(TEXT, text=huge)
    futures = tiny_engine.submit_all([TEXT, broken, TEXT])
    with pytest.raises(BrokenImage, match="not numbers"):
        futures[1].result(60)
    assert_close(futures[0].result(60).pixels, made(tiny_engine, TEXT))
    assert_close(futures[2].result(60).pixels, made(tiny_engine, TEXT))


def test_an_all_black_image_is_an_error(tmp_path):
    tiny.save_text(tmp_path / "text")
    engine = Engine(scan(tmp_path), EngineSettings())
    try:
        with torch.no_grad():
            engine._models["text"].pipeline.vae.decoder.conv_out.bias.fill_(-100)
        with pytest.raises(BrokenImage, match="black"):
            made(engine, TEXT)
    finally:
        engine.close()


@contextmanager
def engine_with_room_for(rows, folder):
    """An engine whose U-Net runs out of memory with more rows, as it would on a GPU."""

    def small_memory(_, inputs):
        if len(inputs[0]) > rows:
            raise torch.OutOfMemoryError("out of memory")

    tiny.save_text(folder / "text")
    engine = Engine(scan(folder), EngineSettings())
    try:
        expected = made(engine, TEXT)
        engine._models["text"].pipeline.unet.register_forward_pre_hook(small_memory)
        yield engine, expected
    finally:
        engine.close()


def test_a_batch_too_large_for_the_memory_is_halved(tmp_path):
    with engine_with_room_for(4, tmp_path) as (engine, expected):
        for future in engine.submit_all([TEXT] * 4):
            assert_close(future.result(60).pixels, expected)


def test_a_batch_is_halved_until_it_fits_and_what_not_even_one_row_fits_is_told(tmp_path):
    with engine_with_room_for(1, tmp_path) as (engine, expected):
        for future in engine.submit_all([TEXT] * 4):
            assert_close(future.result(60).pixels, expected)
    with engine_with_room_for(0, tmp_path) as (engine, _):
        for future in engine.submit_all([TEXT] * 4):
            with pytest.raises(OutOfMemory, match="a batch of 4 images"):
                future.result(60)


def test_images_are_decoded_in_halves_where_the_memory_does_not_hold_all(tmp_path):
    tiny.save_text(tmp_path / "text")
    engine = Engine(scan(tmp_path), EngineSettings(decode_batch=4))
    decode, sizes = engine._models["text"].pipeline.vae.decode, []

    def small_memory(latents, **options):
        sizes.append(len(latents))
        if len(latents) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return decode(latents, **options)

    try:
        expected = made(engine, TEXT)
        engine._models["text"].pipeline.vae.decode = small_memory
        for future in engine.submit_all([TEXT] * 4):
            assert_close(future.result(60).pixels, expected)
        assert sizes == [4, 2, 2]
    finally:
        engine.close()


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"condition": Concat(picture(0))}, "image.concat", "mode 'pix2pix'"),
        ({"condition": Unclip(picture(0))}, "image.unclip", "mode 'unclip'"),
        ({"model": "pix2pix"}, "image", "needs the image condition 'concat'"),
        ({"model": "unclip"}, "image", "needs the image condition 'cutmix' or 'mixup' or 'unclip'"),
        ({"condition": Start(picture(0), -0.1)}, "image.start.strength", "0 to 1"),
        ({"text": {"words": np.zeros(3, np.float32)}}, "text", "is text; given is words"),
        ({"steps": 0}, "steps", "1 to 1000"),
        ({"guidance_scale": float("nan")}, "guidance_scale", "not a number"),
        ({"text": {"text": np.zeros((3, 5), np.float32)}}, "text", r"\[3, 5\].*\[12, 32\]"),
        ({"negative": {"text": np.full((12, 32), np.nan, np.float32)}}, "negative", "NaN"),
        (
            {"model": "unclip", "condition": Unclip(np.zeros(5, np.float32))},
            "image.unclip.embedding",
            r"\[5\].*\[16\]",
        ),
    ],
)
def test_what_the_model_cannot_use_is_refused_at_once(tiny_engine, change, field, words):
    with pytest.raises(BadCondition, match=words) as caught:
        tiny_engine.submit(dataclasses.replace(TEXT, **change))
    assert caught.value.field == field


def test_more_steps_than_the_schedule_has_are_refused_not_run_out_of(tiny_engine):
    with pytest.raises(BadCondition, match="cannot make 1000 steps; use at most") as caught:
        made(tiny_engine, dataclasses.replace(TEXT, steps=1000))
    assert caught.value.field == "steps"


def test_an_unknown_model_is_told_the_known_ones(tiny_engine):
    with pytest.raises(UnknownModel, match=r"'sd9'.*pix2pix, text, unclip"):
        tiny_engine.submit(dataclasses.replace(TEXT, model="sd9"))
    with pytest.raises(BadCondition, match="no image encoder"):
        tiny_engine.encode_images("text", [picture(0)])
