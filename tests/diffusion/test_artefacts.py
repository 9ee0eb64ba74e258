"""The files of artefacts: what they say, and which are refused."""

import dataclasses
import hashlib
import pickle

import pytest
import safetensors.torch
import torch

from diffusion.artefacts import lora
from diffusion.artefacts.checks import check_fits
from diffusion.artefacts.errors import BadArtefact
from diffusion.artefacts.facts import Artefact, Facts, Kind
from diffusion.artefacts.files import digest_of, read, write
from diffusion.card import read_card
from tests.generator import tiny

VECTORS = {"text_encoder": torch.arange(2 * tiny.WIDTH).reshape(2, -1) / 7.0}


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    return read_card(tiny.save_text(tmp_path_factory.mktemp("models") / "text"))


@pytest.fixture
def facts(card):
    return Facts(
        Kind.TOKENS, card.digest, "textual_inversion", "cat", "d" * 64, "r" * 64, word="<cat>"
    )


def named(data, kind=Kind.TOKENS):
    return Artefact("store:learned", digest_of(data), kind)


def test_what_is_written_is_read(facts):
    data = write(facts, VECTORS)
    found, tensors = read(data, named(data))
    assert found == facts
    assert torch.equal(tensors["text_encoder"], VECTORS["text_encoder"])
    assert tensors.keys() == VECTORS.keys()


def test_the_same_artefact_is_the_same_bytes(facts):
    tensors = {name: torch.full((2,), float(n)) for n, name in enumerate("abc")}
    unet = dataclasses.replace(facts, kind=Kind.UNET, word="")
    backwards = dict(reversed(tensors.items()))
    assert write(unet, tensors) == write(unet, backwards)
    assert write(unet, tensors) != write(dataclasses.replace(unet, method="imagic"), tensors)


def test_a_transposed_tensor_is_written_as_it_looks(facts):
    turned = {"text_encoder": torch.rand(3, 2).T}
    data = write(facts, turned)
    assert torch.equal(read(data, named(data))[1]["text_encoder"], turned["text_encoder"])


@pytest.mark.parametrize(
    ("data", "reason", "words"),
    [
        (pickle.dumps({"text_encoder": [1.0]}), "NOT_SAFETENSORS", "is a pickle"),
        (b"PK\x03\x04 as torch.save writes", "NOT_SAFETENSORS", "is a pickle"),
        (b"nothing of the kind", "NOT_SAFETENSORS", "not a safetensors file"),
        (safetensors.torch.save({}), "BROKEN_ARTEFACT", "no tensors"),
        (
            safetensors.torch.save({"<a>": torch.full((4,), torch.nan)}),
            "BROKEN_ARTEFACT",
            "NaN or infinite",
        ),
        (
            safetensors.torch.save({"<a>": torch.zeros(4, dtype=torch.int64)}),
            "BROKEN_ARTEFACT",
            "not floating point",
        ),
        (safetensors.torch.save({"a cat": torch.zeros(4)}), "BROKEN_ARTEFACT", "white space"),
        (
            safetensors.torch.save({"a": torch.zeros(4)}, {"variegate.artefact": '{"format":7}'}),
            "BROKEN_ARTEFACT",
            "format 7",
        ),
        (
            safetensors.torch.save({"a": torch.zeros(4)}, {"variegate.artefact": '{"format":1}'}),
            "BROKEN_ARTEFACT",
            "cannot be read",
        ),
    ],
)
def test_what_is_no_artefact_says_why(data, reason, words):
    with pytest.raises(BadArtefact, match=words) as caught:
        read(data, named(data))
    assert (caught.value.field, caught.value.reason) == ("uri", reason)


def test_a_file_whose_length_begins_as_a_pickle_does_is_read(facts):
    lengths = []
    for size in range(600):
        data = write(dataclasses.replace(facts, class_name="c" * size), VECTORS)
        if data[0] == 0x80:
            lengths.append(size)
            assert read(data, named(data))[0].class_name == "c" * size
    assert lengths, "no header had such a length"


def test_an_unknown_kind_is_refused(facts):
    data = write(facts, VECTORS).replace(b'\\"tokens\\"', b'\\"spells\\"')
    with pytest.raises(BadArtefact, match="spells"):
        read(data, named(data))


def test_another_kind_than_was_named_is_refused(facts):
    data = write(facts, VECTORS)
    with pytest.raises(BadArtefact, match="TOKENS; the request says UNET") as caught:
        read(data, named(data, Kind.UNET))
    assert (caught.value.field, caught.value.reason) == ("kind", "WRONG_KIND")


def test_other_bytes_than_were_named_are_refused(facts):
    data = write(facts, VECTORS)
    with pytest.raises(BadArtefact, match=hashlib.sha256(data).hexdigest()) as caught:
        read(data, Artefact("store:learned", "0" * 64, Kind.TOKENS))
    assert (caught.value.field, caught.value.reason) == ("sha256", "DIGEST_MISMATCH")


@pytest.mark.parametrize(
    ("change", "words"),
    [({"word": "two words"}, "white space"), ({"kind": Kind.UNET}, "only TOKENS have a word")],
)
def test_what_could_not_be_read_is_not_written(facts, change, words):
    with pytest.raises(ValueError, match=words):
        write(dataclasses.replace(facts, **change), VECTORS)


def test_an_artefact_that_fits_is_accepted(facts, card):
    check_fits(facts, VECTORS, "store:learned", card)
    text = {"text": torch.zeros(card.text_shape)}
    check_fits(dataclasses.replace(facts, kind=Kind.CONDITIONING), text, "store:learned", card)


@pytest.mark.parametrize(
    ("kind", "tensors", "words"),
    [
        (Kind.TOKENS, {"text_encoder": torch.zeros(1, 7)}, r"\[1, 7\]; the tokens there are 32"),
        (Kind.TOKENS, {"text_encoder": torch.zeros(7)}, "have the shape"),
        (Kind.TOKENS, {"text_encoder": torch.zeros(0, tiny.WIDTH)}, "has 0 vectors"),
        (Kind.TOKENS, {"text_encoder": torch.zeros(11, tiny.WIDTH)}, "11 vectors.*1 to 10"),
        (Kind.TOKENS, {"other": torch.zeros(1, tiny.WIDTH)}, "it holds other; .* text_encoder"),
        (Kind.CONDITIONING, {"text": torch.zeros(3, tiny.WIDTH)}, r"'text' has .*\[12, 32\]"),
        (Kind.CONDITIONING, {"pooled_text": torch.zeros(3)}, "holds pooled_text; .* holds text"),
    ],
)
def test_an_artefact_of_other_shapes_is_refused(card, kind, tensors, words):
    with pytest.raises(BadArtefact, match=words) as caught:
        check_fits(Facts(kind), tensors, "store:learned", card)
    assert caught.value.reason == "ARTEFACT_MISMATCH"


def test_an_artefact_of_another_model_is_refused(facts, card):
    other = dataclasses.replace(facts, base="0" * 64)
    with pytest.raises(BadArtefact, match=f"digest {'0' * 64}; model 'text' has {card.digest}"):
        check_fits(other, VECTORS, "store:learned", card)


def test_a_word_of_another_program_is_named_by_its_tensor():
    data = safetensors.torch.save({"<cat>": torch.ones(4)})
    facts, tensors = read(data, named(data))
    assert (facts.word, facts.base) == ("<cat>", "")
    assert tensors["text_encoder"].shape == (1, 4)


def test_a_lora_of_diffusers_is_read_with_its_alpha():
    pair = {"unet.a.lora.down.weight": torch.ones(2, 3), "unet.a.lora.up.weight": torch.ones(4, 2)}
    data = safetensors.torch.save(pair, {"lora_adapter_metadata": '{"unet.lora_alpha": 8}'})
    _, tensors = read(data, named(data, Kind.UNET))
    rest, loras = lora.split(tensors, "store:learned")
    assert (rest, list(loras), loras["a"].scale) == ({}, ["a"], 4.0)
    assert torch.equal(loras["a"].change(), torch.full((4, 3), 8.0))


def test_a_lora_that_is_another_sum_is_refused():
    pair = {"a.lora_A.weight": torch.ones(2, 3), "a.lora_B.weight": torch.ones(4, 2)}
    data = safetensors.torch.save(pair, {"lora_adapter_metadata": '{"unet.use_dora": true}'})
    with pytest.raises(BadArtefact, match="use_dora"):
        read(data, named(data, Kind.UNET))


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"a.lora_A.weight": torch.ones(2, 3)}, "a.lora_B.weight is missing"),
        ({"a.lora_B.weight": torch.ones(2, 3)}, "a.lora_A.weight is missing"),
        (
            {"a.lora_A.weight": torch.ones(2, 3), "a.lora_B.weight": torch.ones(4, 3)},
            "rows of A must be the columns of B",
        ),
    ],
)
def test_half_a_lora_is_refused(tensors, words):
    with pytest.raises(BadArtefact, match=words):
        lora.split(tensors, "store:learned")


def test_the_change_of_a_convolution_is_that_of_both_convolutions():
    down, up = torch.rand(2, 3, 3, 3), torch.rand(5, 2, 1, 1)
    change = lora.Lora(down, up, 0.5).change()
    image = torch.rand(1, 3, 8, 8)
    conv = torch.nn.functional.conv2d
    assert torch.allclose(conv(image, change), 0.5 * conv(conv(image, down), up), atol=1e-5)
