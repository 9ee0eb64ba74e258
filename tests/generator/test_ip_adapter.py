"""An IP-Adapter beside Stable Diffusion makes what diffusers makes with it."""

import dataclasses
import shutil

import numpy as np
import pytest
import safetensors.torch
import torch
from variegate.generator.v1 import generator_pb2 as pb

from diffusion.errors import BadCondition
from diffusion.registry import scan
from generator.engine.conditions.adapter import Adapter
from generator.engine.conditions.start import Start
from generator.engine.conditions.unclip import Unclip
from generator.engine.engine import Engine
from generator.engine.items import Item
from generator.engine.settings import EngineSettings
from tests.generator import tiny
from tests.generator.calls import PHOTO, TIMEOUT, answers, models_of, request, serving
from tests.generator.conftest import picture
from tests.generator.test_engine import assert_close, made, pipeline, reference

FILE = "ip-adapter_sd15.safetensors"
PIPELINES = {"sd": "StableDiffusionPipeline", "xl": "StableDiffusionXLPipeline"}
ITEM = Item("sd", seed=7, steps=4, guidance_scale=5.0, text="a dog", negative="a cat")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    models = tmp_path_factory.mktemp("models")
    tiny.save_adapter(tiny.save_text(models / "sd"), FILE)
    tiny.save_adapter(tiny.save_xl(models / "xl"), FILE)
    return models


@pytest.fixture(scope="module")
def engine(folder):
    found = Engine(scan(folder), EngineSettings(deterministic_rows=4))
    yield found
    found.close()


@pytest.fixture
def broken(folder, tmp_path):
    """A copy of the model that a test may break, and a function that says why it is refused."""
    shutil.copytree(folder / "sd", tmp_path / "sd")
    return tmp_path / "sd", lambda: str(scan(tmp_path).refused["sd"])


def expected(folder, item, scale, image):
    """What diffusers makes of the item with the adapter."""
    pipe = pipeline(folder / item.model, PIPELINES[item.model])
    pipe.load_ip_adapter(folder / item.model, subfolder="", weight_name=FILE)
    pipe.set_ip_adapter_scale(scale)
    return reference(pipe, item, ip_adapter_image=image)


@pytest.mark.parametrize("guidance", [1.0, 5.0])
@pytest.mark.parametrize("scale", [1.0, 0.6])
@pytest.mark.parametrize("model", PIPELINES)
def test_an_image_beside_the_text_equals_the_pipeline(
    engine, folder, photo, model, scale, guidance
):
    item = dataclasses.replace(
        ITEM, model=model, guidance_scale=guidance, condition=Adapter(photo, scale)
    )
    assert_close(made(engine, item), expected(folder, item, scale, photo))


@pytest.mark.parametrize("model", PIPELINES)
def test_without_an_image_the_adapter_changes_nothing(engine, folder, photo, model):
    item = dataclasses.replace(ITEM, model=model)
    pipe = pipeline(folder / model, PIPELINES[model])
    assert_close(made(engine, item), reference(pipe, item))


def test_items_with_other_scales_and_without_an_image_share_calls(engine, photo):
    conditions = [Adapter(photo, 1.5), Start(photo, 0.5), Adapter(picture(3), 0.3)]
    items = [dataclasses.replace(ITEM, deterministic=True, condition=one) for one in conditions]
    items.append(dataclasses.replace(ITEM, deterministic=True))
    together = [future.result(60).pixels for future in engine.submit_all(items)]
    for item, pixels in zip(items, together, strict=True):
        assert np.array_equal(made(engine, item), pixels)
    assert not np.array_equal(together[0], together[3])


async def test_callers_send_an_image_or_its_embedding(engine, store):
    async with serving(engine, store) as stub:
        model = (await models_of(stub))["sd"]
        assert list(model.image_conditions) == ["adapter", "cutmix", "mixup", "start"]
        encode = pb.EncodeImagesRequest(model="sd", image_uris=[PHOTO])
        [embedding] = (await stub.EncodeImages(encode, timeout=TIMEOUT)).embeddings
        assert list(embedding.shape) == [model.image_dimension]
        adapters = {
            "uri": pb.AdapterImage(image_uri=PHOTO),
            "embedding": pb.AdapterImage(embedding=embedding, scale=1.0),
            "scale": pb.AdapterImage(embedding=embedding, scale=0.5),
        }
        items = [
            pb.Item(item_id=name, image=pb.ImageCondition(adapter=adapter))
            for name, adapter in adapters.items()
        ]
        images = await answers(stub, request(*items, model="sd", deterministic=True))
    shas = {name: answer.image.sha256 for name, answer in images.items()}
    assert shas["uri"] == shas["embedding"] != shas["scale"]


def test_what_a_model_does_not_take_is_refused(engine, tiny_engine, photo):
    with pytest.raises(BadCondition, match="for models with an IP-Adapter"):
        tiny_engine.submit(dataclasses.replace(ITEM, model="text", condition=Adapter(photo)))
    with pytest.raises(BadCondition, match="for models of mode 'unclip'"):
        engine.submit(dataclasses.replace(ITEM, condition=Unclip(photo)))
    for scale in (0.0, 2.5, float("nan")):
        with pytest.raises(BadCondition, match="above 0 and at most 2"):
            engine.submit(dataclasses.replace(ITEM, condition=Adapter(photo, scale)))


def test_an_adapter_changes_the_digest(folder, broken):
    path, _ = broken
    before = scan(path.parent).card("sd").digest
    (path / FILE).unlink()
    assert scan(path.parent).card("sd").digest != before


def test_an_adapter_that_does_not_fit_is_refused_with_the_reason(folder, broken):
    path, reason = broken
    whole = safetensors.torch.load_file(path / FILE)

    def write(name, *shape):
        safetensors.torch.save_file(whole | {name: torch.zeros(shape)}, path / FILE)

    write("image_proj.proj.weight", 4 * tiny.WIDTH, 99)
    assert "length 99 and image_encoder/ makes 16" in reason()
    write("image_proj.proj.weight", 4 * 99, tiny.DIMENSION)
    assert "text is 99 wide; this one's is 32" in reason()
    del whole["image_proj.proj.weight"]
    write("image_proj.latents", 1, 16, 8)
    assert "Plus, Full Face and FaceID adapters are not served" in reason()
    (path / FILE).write_bytes(b"no tensors")
    assert f"{FILE} is not a safetensors file" in reason()
    shutil.copy(path / FILE, path / "ip-adapter_other.safetensors")
    assert "several adapters" in reason()


def test_an_adapter_without_its_encoder_or_as_a_pickle_or_of_another_family_is_refused(
    tiny_folder, broken, tmp_path
):
    path, reason = broken
    shutil.copytree(tiny_folder / "unclip", tmp_path / "unclip")
    shutil.copy(path / FILE, tmp_path / "unclip" / FILE)
    assert f"takes no adapter; remove {FILE}" in str(scan(tmp_path).refused["unclip"])
    shutil.rmtree(path / "image_encoder")
    assert "needs image_encoder/" in reason()
    (path / FILE).rename(path / "ip-adapter_sd15.bin")
    assert "ip-adapter_sd15.bin is no .safetensors file" in reason()
