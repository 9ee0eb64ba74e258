"""Adapters among the artefacts of a call: they make what installed ones make, or are refused."""

import numpy as np
import pytest
import safetensors.torch
import torch

from diffusion.artefacts.facts import Facts, Kind
from diffusion.artefacts.files import write
from diffusion.errors import BadCondition
from diffusion.registry import scan
from generator.engine.conditions.adapter import Adapter
from generator.engine.engine import Engine
from generator.engine.settings import EngineSettings
from tests.generator import learned, tiny
from tests.generator.learned import made

ADAPTER = "ip-adapter_sd15.safetensors"


@pytest.fixture(scope="module")
def adapted(tmp_path_factory):
    """A model with an adapter in its folder, its copy without, and the file of the adapter."""
    models = tmp_path_factory.mktemp("models")
    for kind, save in {"sd": tiny.save_text, "xl": tiny.save_xl}.items():
        with_adapter = tiny.save_adapter(save(models / kind), ADAPTER)
        data = learned.without_adapter(
            learned.copied(with_adapter, models / f"{kind}-bare"), ADAPTER
        )
    return models, data


@pytest.fixture
def both(adapted, shelf):
    engine = Engine(scan(adapted[0]), EngineSettings(), shelf)
    yield engine
    engine.close()


@pytest.mark.parametrize("model", ["sd", "xl"])
def test_an_adapter_makes_what_it_makes_from_the_folder(both, adapted, shelf, photo, model):
    adapter = shelf.add("adapter", (adapted[0] / model / ADAPTER).read_bytes(), Kind.ADAPTER)
    wanted = [
        {"model": model, "condition": Adapter(photo, 0.7)},
        {"model": model},
        {"model": model, "condition": Adapter(photo, 1.3), "guidance_scale": 1.0},
    ]
    for change in wanted:
        installed = made(both, **change)
        given = made(both, adapter, **{**change, "model": f"{model}-bare"})
        assert np.array_equal(installed, given)


def test_a_lora_and_an_adapter_go_together(both, adapted, shelf, photo):
    tensors = learned.lora_tensors(both._models["sd-bare"].unet)
    lora = shelf.add("lora", write(Facts(Kind.UNET), tensors))
    adapter = shelf.add("adapter", (adapted[0] / "sd" / ADAPTER).read_bytes(), Kind.ADAPTER)
    change = {"condition": Adapter(photo, 0.7)}
    installed = made(both, lora, model="sd", **change)
    for order in ([lora, adapter], [adapter, lora]):
        assert np.array_equal(installed, made(both, *order, model="sd-bare", **change))
    assert not np.array_equal(installed, made(both, model="sd", **change))


def test_without_an_adapter_no_image_embedding_is_taken(both, photo):
    with pytest.raises(BadCondition, match="in their folder or among the artefacts"):
        made(both, model="sd-bare", condition=Adapter(photo))


def test_an_adapter_of_another_model_is_refused(both, adapted, shelf):
    tensors = learned.adapter_tensors((adapted[0] / "sd" / ADAPTER).read_bytes())
    wrong = {
        "reads image embeddings of length 9": {"image_proj.proj.weight": torch.zeros(128, 9)},
        "text is 7 wide": {"image_proj.proj.weight": torch.zeros(28, 16)},
        "'ip_adapter.1.to_k_ip.weight'": {"ip_adapter.1.to_k_ip.weight": torch.zeros(3, 32)},
        "'ip_adapter.99.to_k_ip.weight' .* none in the model": {
            "ip_adapter.99.to_k_ip.weight": torch.zeros(16, 32)
        },
    }
    for number, (words, change) in enumerate(wrong.items()):
        data = safetensors.torch.save(tensors | change)
        with pytest.raises(BadCondition, match=words) as caught:
            made(both, shelf.add(f"bad{number}", data, Kind.ADAPTER), model="sd-bare")
        assert caught.value.reason == "ARTEFACT_MISMATCH"
    adapter = shelf.add("adapter", safetensors.torch.save(tensors), Kind.ADAPTER)
    with pytest.raises(BadCondition, match="it has one in its folder"):
        made(both, adapter, model="sd")
