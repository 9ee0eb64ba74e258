"""Which folders are served, and why others are not."""

import json
import pathlib
import pickle
import re
import shutil

import pytest

from diffusion.errors import BrokenModel, UnknownModel
from diffusion.families.registry import FAMILIES
from diffusion.registry import scan
from generator.engine.engine import Engine
from generator.engine.settings import EngineSettings
from tests.generator import tiny
from tests.generator.test_engine import TEXT, made


@pytest.fixture
def folder(tiny_folder, tmp_path):
    """A copy of the text model that a test may break."""
    shutil.copytree(tiny_folder / "text", tmp_path / "text")
    return tmp_path


def reason(folder):
    with pytest.raises(BrokenModel) as caught:
        scan(folder).card("text")
    return str(caught.value)


def test_the_large_architectures_are_read_by_their_pipeline_class(tiny_folder):
    cards = scan(tiny_folder).cards
    assert {name: card.mode for name, card in cards.items()} == {
        "pix2pix": "pix2pix",
        "text": "text",
        "unclip": "unclip",
    }
    assert cards["text"].text_shape == (tiny.TOKENS, tiny.WIDTH)
    assert (cards["text"].width, cards["text"].height) == (tiny.SIDE, tiny.SIDE)
    assert (cards["text"].default_steps, cards["text"].default_guidance_scale) == (50, 7.5)


def test_own_defaults_are_read_and_do_not_change_the_digest(folder):
    before = scan(folder).card("text")
    (folder / "text" / "variegate.json").write_text(
        json.dumps({"steps": 9, "guidance_scale": 2.0, "text_encoder": "mine"})
    )
    after = scan(folder).card("text")
    assert (after.default_steps, after.default_guidance_scale) == (9, 2.0)
    assert after.text_encoder == "mine"
    assert after.digest == before.digest


def test_any_changed_weight_or_setting_changes_the_digest(folder):
    before = scan(folder).card("text").digest
    weights = folder / "text" / "unet" / "diffusion_pytorch_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    changed = scan(folder).card("text").digest
    config = folder / "text" / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text() + "\n")
    assert len({before, changed, scan(folder).card("text").digest}) == 3


def test_linked_parts_count_like_copied_ones(folder):
    before = scan(folder).card("text").digest
    (folder / "text" / "vae").rename(folder / "shared-vae")
    (folder / "text" / "vae").symlink_to(folder / "shared-vae")
    assert scan(folder).card("text").digest == before


class Trap:
    """Unpickled, it writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (pathlib.Path.touch, (self.path,))


@pytest.fixture
def trap(tmp_path):
    """The bytes of a pickle that runs code, and the file by which that is noticed."""
    sprung = tmp_path / "sprung"
    return pickle.dumps(Trap(sprung)), sprung


def test_pickles_beside_safetensors_are_ignored_and_never_loaded(folder, trap):
    before = scan(folder).card("text").digest
    data, sprung = trap
    for name in (
        "unet/diffusion_pytorch_model.bin",
        "vae/diffusion_pytorch_model.bin",
        "text_encoder/pytorch_model.bin",
        "old.ckpt",
    ):
        (folder / "text" / name).write_bytes(data)
    assert scan(folder).card("text").digest == before
    engine = Engine(scan(folder, ["text"]), EngineSettings())
    try:
        made(engine, TEXT)
    finally:
        engine.close()
    assert not sprung.exists()


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_a_part_that_is_only_a_pickle_is_refused_with_the_remedy(folder, trap, part):
    data, sprung = trap
    [weights] = (folder / "text" / part).glob("*.safetensors")
    weights.unlink()
    (folder / "text" / part / "weights.bin").write_bytes(data)
    assert f"{part}/weights.bin, a pickle" in reason(folder)
    assert "safetensors" in reason(folder)
    assert not sprung.exists()


@pytest.mark.parametrize("parts", [["unet"], ["unet", "vae", "text_encoder"]])
def test_weights_that_are_there_as_fp16_only_are_found(folder, parts):
    for part in parts:
        [weights] = (folder / "text" / part).glob("*.safetensors")
        weights.rename(weights.with_name(f"{weights.stem}.fp16.safetensors"))
    engine = Engine(scan(folder, ["text"]), EngineSettings())
    try:
        assert engine.registry.refused == {}
        assert made(engine, TEXT).any()
    finally:
        engine.close()


def test_a_missing_part_is_named(folder):
    (folder / "text" / "vae" / "config.json").unlink()
    assert "vae/config.json is missing" in reason(folder)


def test_missing_weights_are_named(folder):
    (folder / "text" / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    assert "unet/ holds no .safetensors" in reason(folder)


def test_damaged_json_is_named(folder):
    (folder / "text" / "unet" / "config.json").write_text("{")
    assert "unet/config.json is not JSON" in reason(folder)


def test_a_configuration_without_a_needed_value_is_refused(folder):
    (folder / "text" / "unet" / "config.json").write_text("{}")
    assert "sample_size" in reason(folder)


@pytest.mark.parametrize("kind", ["FluxPipeline", "StableDiffusion3Pipeline"])
def test_a_folder_of_another_family_is_refused_with_those_that_are_served(folder, kind):
    path = folder / "text" / "model_index.json"
    path.write_text(path.read_text().replace("StableDiffusionPipeline", kind))
    assert kind in reason(folder)
    for family in FAMILIES:
        assert family.title in reason(folder)
        assert set(family.pipelines) <= set(re.findall(r"\w+", reason(folder)))


def test_truncated_weights_refuse_that_model_and_serve_the_others(folder):
    shutil.copytree(folder / "text", folder / "whole")
    weights = folder / "text" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    engine = Engine(scan(folder))
    try:
        assert list(engine.cards) == ["whole"]
        with pytest.raises(BrokenModel, match="do not load"):
            engine.card("text")
    finally:
        engine.close()


def test_unknown_names_and_folders_are_named(folder):
    with pytest.raises(UnknownModel, match=r"'sd9'.*text"):
        scan(folder, ["sd9"])
    with pytest.raises(BrokenModel, match="there is no folder"):
        scan(folder / "nowhere")
