"""Stable Diffusion XL makes what diffusers' own pipelines make."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from variegate.generator.v1 import generator_pb2 as pb

from diffusion.errors import BadCondition, BrokenModel
from diffusion.registry import scan
from generator.engine.conditions.start import Start
from generator.engine.engine import Engine
from generator.engine.items import Item
from generator.engine.settings import EngineSettings
from tests.generator import tiny
from tests.generator.calls import TIMEOUT, answers, models_of, request, serving
from tests.generator.test_engine import assert_close, made, pipeline, reference

ITEM = Item("xl", seed=7, steps=4, guidance_scale=5.0, text="a dog", negative="a cat")
TEXT_TO_IMAGE, IMAGE_TO_IMAGE = "StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    models = tmp_path_factory.mktemp("models")
    tiny.save_xl(models / "xl")
    tiny.save_xl(
        models / "own",
        zeros=False,
        latents_mean=[0.3, -0.2, 0.1, 0.0],
        latents_std=[0.8, 1.1, 0.9, 1.2],
    )
    return models


@pytest.fixture(scope="module")
def engine(folder):
    found = Engine(scan(folder), EngineSettings(deterministic_rows=4))
    yield found
    found.close()


@pytest.mark.parametrize("change", [{}, {"guidance_scale": 1.0}, {"steps": 7, "seed": 2**32 - 1}])
def test_text_to_image_equals_the_pipeline(engine, folder, change):
    item = dataclasses.replace(ITEM, **change)
    pipe = pipeline(folder / "xl", TEXT_TO_IMAGE)
    assert_close(made(engine, item), reference(pipe, item))


def test_image_to_image_equals_the_pipeline(engine, folder, photo):
    item = dataclasses.replace(ITEM, condition=Start(photo, 0.75), steps=8)
    pipe = pipeline(folder / "xl", IMAGE_TO_IMAGE)
    assert_close(made(engine, item), reference(pipe, item, image=photo, strength=0.75))


def test_an_autoencoder_with_statistics_of_its_own_equals_the_pipeline(engine, folder, photo):
    item = dataclasses.replace(ITEM, model="own", condition=Start(photo, 0.75), steps=8)
    pipe = pipeline(folder / "own", IMAGE_TO_IMAGE)
    assert_close(made(engine, item), reference(pipe, item, image=photo, strength=0.75))


@pytest.mark.parametrize("model", ["xl", "own"])
def test_the_null_text_is_what_the_index_says(engine, folder, model):
    item = dataclasses.replace(ITEM, model=model, negative="")
    pipe = pipeline(folder / model, TEXT_TO_IMAGE)
    unset = dataclasses.replace(item, negative=None)  # So diffusers is asked for the null text.
    assert_close(made(engine, item), reference(pipe, unset))


def test_a_batch_of_text_and_image_to_image_has_the_bits_of_each_alone(engine, photo):
    items = [
        dataclasses.replace(ITEM, deterministic=True),
        dataclasses.replace(ITEM, deterministic=True, condition=Start(photo, 0.5), steps=6),
        dataclasses.replace(ITEM, deterministic=True, guidance_scale=1.0, text="a ship"),
    ]
    together = [future.result(60).pixels for future in engine.submit_all(items)]
    for item, pixels in zip(items, together, strict=True):
        assert np.array_equal(made(engine, item), pixels)


def test_an_encoded_text_makes_the_image_of_its_prompt_and_needs_both_tensors(engine):
    text, negative = engine.encode_prompts("xl", [ITEM.text, ITEM.negative]).result(60)
    assert {name: values.shape for name, values in text.items()} == {
        "text": (tiny.TOKENS, 2 * tiny.WIDTH),
        "pooled_text": (tiny.DIMENSION,),
    }
    encoded = dataclasses.replace(ITEM, text=text, negative=negative)
    assert np.array_equal(made(engine, encoded), made(engine, ITEM))
    with pytest.raises(BadCondition, match="is text and pooled_text; given is text"):
        engine.submit(dataclasses.replace(ITEM, text={"text": text["text"]}))


async def test_callers_send_the_pooled_embedding_beside_the_matrix(engine, store):
    async with serving(engine, store) as stub:
        model = (await models_of(stub))["xl"]
        encode = pb.EncodePromptsRequest(model="xl", prompts=["a dog"])
        encoded = await stub.EncodePrompts(encode, timeout=TIMEOUT)
        [matrix], [pooled] = encoded.embeddings, encoded.pooled_embeddings
        assert list(pooled.shape) == [model.pooled_text_dimension] == [tiny.DIMENSION]
        whole = pb.TextCondition(embedding=matrix, pooled_embedding=pooled)
        half = pb.TextCondition(embedding=matrix)
        items = [
            pb.Item(item_id="whole", text=whole),
            pb.Item(item_id="prompt", text=pb.TextCondition(prompt="a dog")),
            pb.Item(item_id="half", text=half),
        ]
        found = await answers(stub, request(*items, model="xl", deterministic=True))
    assert found["whole"].image.sha256 == found["prompt"].image.sha256
    assert "pooled_text" in found["half"].error.message


def test_the_autoencoder_keeps_float32_where_it_says_so(folder):
    settings = EngineSettings(dtype="float16")
    half = Engine(scan(folder, ["xl"]), settings)
    try:
        model = half._models["xl"]
        assert {tensor.dtype for tensor in model.unet.parameters()} == {torch.float16}
        assert {tensor.dtype for tensor in model.pipeline.vae.parameters()} == {torch.float32}
        assert made(half, dataclasses.replace(ITEM, steps=2)).any()
    finally:
        half.close()


def test_a_refiner_is_refused_with_the_reason(folder, tmp_path):
    shutil.copytree(folder / "xl", tmp_path / "refiner")
    index = tmp_path / "refiner" / "model_index.json"
    index.write_text(
        json.dumps(json.loads(index.read_text()) | {"requires_aesthetics_score": True})
    )
    with pytest.raises(BrokenModel, match="it is a refiner"):
        scan(tmp_path).card("refiner")
