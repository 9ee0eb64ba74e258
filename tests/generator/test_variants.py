"""Fine-tuned weights: what makes them usable, and which of them are kept."""

import dataclasses
import hashlib
import pickle

import numpy as np
import pytest
import safetensors.torch
import torch

from diffusion.errors import BadCondition
from diffusion.registry import scan
from generator.engine.engine import Engine
from generator.engine.errors import UnknownVariant
from generator.engine.items import Item, Variant
from generator.engine.settings import EngineSettings

TEXT = Item("text", seed=7, steps=2, guidance_scale=3.0, text="a dog")


class Weights:
    """A fetcher that counts, and the variants that it holds."""

    def __init__(self):
        self.objects, self.fetched = {}, []

    def add(self, name, data):
        self.objects[f"store:{name}"] = data
        return Variant(f"store:{name}", hashlib.sha256(data).hexdigest())

    def __call__(self, uri):
        self.fetched.append(uri)
        if uri not in self.objects:
            raise UnknownVariant(uri)
        return self.objects[uri]


@pytest.fixture
def weights():
    return Weights()


@pytest.fixture
def engine(tiny_folder, weights):
    engine = Engine(scan(tiny_folder), EngineSettings(max_variants=2), weights)
    yield engine
    engine.close()


def tuned(engine, shift, name="conv_out.bias"):
    """The bytes of a variant that moves one tensor of the text model's U-Net."""
    tensor = engine._models["text"].unet.state_dict()[name] + shift
    return safetensors.torch.save({name: tensor.contiguous()})


def made(engine, variant=None, **change):
    item = dataclasses.replace(TEXT, variant=variant, **change)
    return engine.submit(item).result(60).pixels


def test_a_variant_replaces_the_tensors_that_it_holds(engine, weights):
    base = made(engine)
    same = weights.add("same", tuned(engine, 0.0))
    other = weights.add("other", tuned(engine, 1.0))
    assert np.array_equal(base, made(engine, same))
    assert not np.array_equal(base, made(engine, other))
    assert np.array_equal(base, made(engine)), "the model itself is unchanged"


def test_a_variant_is_what_the_tuned_model_makes(engine, weights, tiny_folder):
    variant = weights.add("other", tuned(engine, 1.0))
    expected = Engine(scan(tiny_folder, ["text"]))
    try:
        with torch.no_grad():
            expected._models["text"].unet.conv_out.bias += 1.0
        assert np.array_equal(made(expected), made(engine, variant))
    finally:
        expected.close()


def test_the_variants_used_last_are_kept(engine, weights):
    one, two, three = (weights.add(str(n), tuned(engine, float(n))) for n in (1, 2, 3))
    first = made(engine, one)
    made(engine, two)
    made(engine, one)
    assert weights.fetched == ["store:1", "store:2"]
    made(engine, three)
    assert len(engine._variants) == 2
    made(engine, one)
    assert weights.fetched == ["store:1", "store:2", "store:3"], "one was used after two"
    made(engine, two)
    assert weights.fetched[-1] == "store:2"
    assert np.array_equal(first, made(engine, one)), "what was evicted comes back the same"


def test_the_same_bytes_under_another_name_are_fetched_once(engine, weights):
    data = tuned(engine, 1.0)
    first, second = weights.add("a", data), weights.add("b", data)
    assert np.array_equal(made(engine, first), made(engine, second))
    assert weights.fetched == ["store:a"]


def test_items_of_several_variants_take_turns(engine, weights):
    variants = [None, *(weights.add(str(n), tuned(engine, float(n))) for n in (1, 2, 3))] * 2
    items = [dataclasses.replace(TEXT, variant=variant) for variant in variants]
    together = [future.result(60).pixels for future in engine.submit_all(items)]
    for variant, pixels in zip(variants, together, strict=True):
        alone = made(engine, variant)
        assert np.abs(pixels.astype(int) - alone.astype(int)).max() <= 2


def test_an_unknown_variant_is_named_and_the_engine_goes_on(engine):
    with pytest.raises(UnknownVariant, match="store:none"):
        made(engine, Variant("store:none", "0" * 64))
    assert made(engine).shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("data", "reason", "words"),
    [
        (pickle.dumps({"conv_out.bias": [1.0]}), "NOT_SAFETENSORS", "is a pickle"),
        (b"PK\x03\x04 as torch.save writes", "NOT_SAFETENSORS", "is a pickle"),
        (b"nothing of the kind", "NOT_SAFETENSORS", "not a safetensors file"),
        (
            safetensors.torch.save({"conv_out.bias": torch.zeros(7)}),
            "VARIANT_MISMATCH",
            r"'conv_out.bias', of shape \[7\]; the U-Net's has \[4\]",
        ),
        (
            safetensors.torch.save({"strange.weight": torch.zeros(4)}),
            "VARIANT_MISMATCH",
            "'strange.weight', which the U-Net does not have",
        ),
    ],
)
def test_what_is_no_variant_of_the_model_says_why(engine, weights, data, reason, words):
    with pytest.raises(BadCondition, match=words) as caught:
        made(engine, weights.add("bad", data))
    assert (caught.value.field, caught.value.reason) == ("variant.uri", reason)


def test_other_bytes_than_the_digest_says_are_refused(engine, weights):
    variant = weights.add("one", tuned(engine, 1.0))
    weights.objects[variant.uri] = tuned(engine, 2.0)
    with pytest.raises(BadCondition, match=variant.sha256) as caught:
        made(engine, variant)
    assert (caught.value.field, caught.value.reason) == ("variant.sha256", "DIGEST_MISMATCH")
