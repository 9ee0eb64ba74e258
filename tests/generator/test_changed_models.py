"""Artefacts that change a model's U-Net: what they make, which are refused, which are kept."""

import dataclasses
import hashlib
import pickle

import numpy as np
import pytest
import safetensors.torch
import torch

from diffusion.artefacts.facts import Artefact, Facts, Kind
from diffusion.artefacts.files import write
from diffusion.errors import BadCondition
from diffusion.registry import scan
from generator.engine.engine import Engine
from generator.engine.errors import UnknownArtefact
from generator.engine.items import weights_digest
from generator.engine.settings import EngineSettings
from tests.generator import learned
from tests.generator.learned import TEXT, made


@pytest.fixture
def engine(tiny_folder, shelf):
    engine = Engine(scan(tiny_folder, ["text"]), EngineSettings(max_unets=2), shelf)
    yield engine
    engine.close()


def unet_of(engine):
    return engine._models["text"].unet


def tuned(engine, shift, name="conv_out.bias"):
    return learned.shifted(unet_of(engine), shift, name)


def test_tensors_replace_those_of_the_same_name(engine, shelf):
    base = made(engine)
    same = shelf.add("same", tuned(engine, 0.0))
    other = shelf.add("other", tuned(engine, 1.0))
    assert np.array_equal(base, made(engine, same))
    assert not np.array_equal(base, made(engine, other))
    assert np.array_equal(base, made(engine)), "the model itself is unchanged"


def test_an_artefact_makes_what_the_tuned_model_makes(engine, shelf, tiny_folder):
    artefact = shelf.add("other", tuned(engine, 1.0))
    expected = Engine(scan(tiny_folder, ["text"]))
    try:
        with torch.no_grad():
            unet_of(expected).conv_out.bias += 1.0
        assert np.array_equal(made(expected), made(engine, artefact))
    finally:
        expected.close()


def test_a_lora_whose_b_is_zero_changes_no_bit(engine, shelf):
    tensors = learned.lora_tensors(unet_of(engine), size=0.0)
    nothing = shelf.add("zero", write(Facts(Kind.UNET), tensors))
    assert np.array_equal(made(engine), made(engine, nothing))


@pytest.mark.parametrize("alpha", [None, 6.0])
def test_a_lora_makes_what_its_branches_beside_the_layers_make(engine, shelf, tiny_folder, alpha):
    """The branches are computed as PEFT does: each layer adds alpha / r * B A x."""
    tensors = learned.lora_tensors(unet_of(engine), alpha=alpha)
    lora = shelf.add("lora", write(Facts(Kind.UNET), tensors))
    expected = Engine(scan(tiny_folder, ["text"]))
    for name, layer in learned.lora_layers(unet_of(expected)).items():
        down, up = (tensors[f"{name}.lora_{half}.weight"] for half in "AB")
        scale = 1.0 if alpha is None else alpha / len(down)

        def beside(layer, inputs, output, down=down, up=up, scale=scale):
            if down.ndim == 2:
                return output + scale * (inputs[0] @ down.T @ up.T)
            conv = torch.nn.functional.conv2d
            return output + scale * conv(conv(inputs[0], down, padding=layer.padding), up)

        layer.register_forward_hook(beside)
    try:
        merged = made(engine, lora).astype(int)
        assert np.abs(merged - made(expected).astype(int)).max() <= 1
        assert np.abs(merged - made(engine).astype(int)).max() > 10
    finally:
        expected.close()


def test_names_of_diffusers_are_the_same_lora(engine, shelf):
    tensors = learned.lora_tensors(unet_of(engine))
    others = {
        "unet."
        + name.replace("lora_A", "lora.down").replace("lora_B", "lora.up"): tensor.contiguous()
        for name, tensor in tensors.items()
    }
    ours = shelf.add("ours", write(Facts(Kind.UNET), tensors))
    theirs = shelf.add("theirs", safetensors.torch.save(others))
    assert np.array_equal(made(engine, ours), made(engine, theirs))


def test_those_used_last_are_kept(engine, shelf):
    one, two, three = (shelf.add(str(n), tuned(engine, float(n))) for n in (1, 2, 3))
    first = made(engine, one)
    made(engine, two)
    made(engine, one)
    assert shelf.fetched == ["store:1", "store:2"]
    made(engine, three)
    assert len(engine._changed) == 2
    made(engine, one)
    assert shelf.fetched == ["store:1", "store:2", "store:3"], "one was used after two"
    made(engine, two)
    assert shelf.fetched[-1] == "store:2"
    assert np.array_equal(first, made(engine, one)), "what was evicted comes back the same"


def test_one_that_cannot_be_used_drives_none_out(engine, shelf):
    kept = [shelf.add(str(n), tuned(engine, float(n))) for n in (1, 2)]
    for artefact in kept:
        made(engine, artefact)
    with pytest.raises(BadCondition):
        made(engine, shelf.add("bad", b"nothing of the kind"))
    for artefact in kept:
        made(engine, artefact)
    assert shelf.fetched == ["store:1", "store:2", "store:bad"]


def test_the_same_bytes_under_another_name_are_fetched_once(engine, shelf):
    data = tuned(engine, 1.0)
    first, second = shelf.add("a", data), shelf.add("b", data)
    assert np.array_equal(made(engine, first), made(engine, second))
    assert shelf.fetched == ["store:a"]


@pytest.mark.parametrize("deterministic", [False, True])
def test_items_of_several_artefacts_take_turns(engine, shelf, deterministic):
    artefacts = [shelf.add(str(n), tuned(engine, float(n))) for n in (1, 2, 3)]
    wanted = [(), *((artefact,) for artefact in artefacts)] * 2
    items = [
        dataclasses.replace(TEXT, artefacts=each, deterministic=deterministic) for each in wanted
    ]
    together = [future.result(60).pixels for future in engine.submit_all(items)]
    for each, pixels in zip(wanted, together, strict=True):
        alone = made(engine, *each, deterministic=deterministic)
        difference = np.abs(pixels.astype(int) - alone.astype(int)).max()
        assert difference <= (0 if deterministic else 2)


def test_an_unknown_artefact_is_named_and_the_engine_goes_on(engine):
    with pytest.raises(UnknownArtefact, match="store:none"):
        made(engine, Artefact("store:none", "0" * 64, Kind.UNET))
    assert made(engine).shape == (32, 32, 3)


def half_of_a_lora(name):
    return {f"{name}.lora_A.weight": torch.ones(2, 16), f"{name}.lora_B.weight": torch.ones(16, 2)}


@pytest.mark.parametrize(
    ("data", "reason", "words"),
    [
        (pickle.dumps({"conv_out.bias": [1.0]}), "NOT_SAFETENSORS", "is a pickle"),
        (b"nothing of the kind", "NOT_SAFETENSORS", "not a safetensors file"),
        (
            safetensors.torch.save({"conv_out.bias": torch.zeros(7)}),
            "ARTEFACT_MISMATCH",
            r"'conv_out.bias', of shape \[7\]; the U-Net's has \[4\]",
        ),
        (
            safetensors.torch.save({"strange.weight": torch.zeros(4)}),
            "ARTEFACT_MISMATCH",
            "'strange.weight', which the U-Net does not have",
        ),
        (
            safetensors.torch.save(half_of_a_lora("strange.to_q")),
            "ARTEFACT_MISMATCH",
            "a LoRA of 'strange.to_q', which the U-Net does not have",
        ),
        (
            safetensors.torch.save(half_of_a_lora("conv_in")),
            "ARTEFACT_MISMATCH",
            r"'conv_in' changes a weight of shape \[16, 16\]; the U-Net's has \[8, 4, 3, 3\]",
        ),
        (
            write(Facts(Kind.UNET, base="0" * 64), {"conv_out.bias": torch.zeros(4)}),
            "ARTEFACT_MISMATCH",
            "made for a model with the digest 000",
        ),
        (write(Facts(Kind.TOKENS, word="<a>"), {"a": torch.zeros(4)}), "WRONG_KIND", "TOKENS"),
    ],
)
def test_what_is_no_artefact_of_the_model_says_why(engine, shelf, data, reason, words):
    with pytest.raises(BadCondition, match=words) as caught:
        made(engine, shelf.add("bad", data))
    field = "artefacts[0].kind" if reason == "WRONG_KIND" else "artefacts[0].uri"
    assert (caught.value.field, caught.value.reason) == (field, reason)


def test_other_bytes_than_the_digest_says_are_refused(engine, shelf):
    artefact = shelf.add("one", tuned(engine, 1.0))
    shelf.files[artefact.uri] = tuned(engine, 2.0)
    with pytest.raises(BadCondition, match=artefact.sha256) as caught:
        made(engine, artefact)
    assert (caught.value.field, caught.value.reason) == ("artefacts[0].sha256", "DIGEST_MISMATCH")


@pytest.mark.parametrize(
    ("kinds", "field", "reason"),
    [
        ([Kind.TOKENS], "artefacts[0].kind", "WRONG_PLACE"),
        ([Kind.UNET, Kind.CONDITIONING], "artefacts[1].kind", "WRONG_PLACE"),
        ([Kind.UNET, Kind.UNET], "artefacts[1].kind", "REPEATED_KIND"),
        ([Kind.ADAPTER], "artefacts[0]", "NO_ADAPTER"),
    ],
)
def test_a_call_has_a_place_for_one_unet_and_one_adapter(engine, kinds, field, reason):
    artefacts = [Artefact(f"store:{n}", f"{n}" * 64, kind) for n, kind in enumerate(kinds)]
    with pytest.raises(BadCondition) as caught:
        made(engine, *artefacts)
    assert (caught.value.field, caught.value.reason) == (field, reason)


def test_the_digest_of_the_weights_covers_all_artefacts(engine):
    card = engine.card("text")
    one, two = (Artefact("store:x", letter * 64, Kind.UNET) for letter in "ab")
    expected = hashlib.sha256(f"{card.digest} {'a' * 64} {'b' * 64}".encode()).hexdigest()
    assert weights_digest(card, [one, two]) == weights_digest(card, [two, one]) == expected
    assert weights_digest(card, []) == card.digest
