"""Texts are encoded once and kept within a bound; mixes are of what is encoded."""

import re
from pathlib import Path

import pytest
import torch

from diffusion import encoders as module
from diffusion.encoders import Encoders
from diffusion.families.base import TEXT
from diffusion.mixing import CaptionMix
from diffusion.placement import Placement
from diffusion.registry import scan

MODELS = Path(__file__).parent.parent.parent / "models" / "nano" / "diffusion"
ROWS, WIDTH = 4, 6


class CountingFamily:
    """Encodes a text as a matrix of its length."""

    def __init__(self):
        self.encoded = []

    def encode_texts(self, pipeline, prompts, device):
        self.encoded += [prompt.text for prompt in prompts]
        numbers = torch.tensor([float(len(prompt.text)) for prompt in prompts])
        return {
            TEXT: numbers[:, None, None].expand(-1, ROWS, WIDTH).clone(),
            "pooled": numbers[:, None],
        }


@pytest.fixture
def encoders(monkeypatch):
    [card] = [card for card in scan(MODELS).cards.values() if card.mode == "text"]
    made = Encoders(None, card, Placement(torch.device("cpu"), torch.float32))
    monkeypatch.setattr(made, "_family", CountingFamily())
    return made


def test_a_mix_takes_rows_and_features_of_captions_that_are_encoded_once(encoders):
    mix = CaptionMix(("a", "bb"), 1, ((0, 1, 3),), ((1, 2, 4, 6),))
    mixed, plain, again = encoders.texts([mix, "bb", mix])
    expected = torch.full((ROWS, WIDTH), 2.0)
    expected[1:3] = 1
    expected[2, 4:6] = 2
    assert torch.equal(mixed[TEXT], expected) and torch.equal(again[TEXT], expected)
    assert torch.equal(mixed["pooled"], plain["pooled"]), "the rest is that of the start"
    assert encoders._family.encoded == ["a", "bb"]


def test_what_is_kept_is_bounded_and_what_is_asked_for_at_once_is_whole(encoders, monkeypatch):
    size = (ROWS * WIDTH + 1) * 4
    monkeypatch.setattr(module, "_CACHED_BYTES", 3 * size)
    asked = ["a" * number for number in range(1, 8)]
    found = encoders.texts(asked)
    assert [float(one["pooled"]) for one in found] == [1, 2, 3, 4, 5, 6, 7]
    encoders.texts(["b"])
    assert encoders._bytes == sum(map(module._bytes_of, encoders._prompts.values())) == 3 * size
    assert [prompt.text for prompt in encoders._prompts] == ["a" * 6, "a" * 7, "b"]
    held = {
        t.untyped_storage().data_ptr(): t.untyped_storage()
        for one in encoders._prompts.values()
        for t in one.values()
    }
    assert sum(storage.nbytes() for storage in held.values()) == 3 * size


@pytest.mark.parametrize(
    ("mix", "said"),
    [
        (CaptionMix(("a",), 1), "caption 1 of 1"),
        (CaptionMix(("a", "b"), 0, ((2, 0, 1),)), "caption 2 of 2"),
        (CaptionMix(("a", "b"), 0, ((1, 2, 2),)), "rows 2 to 2 .* of 4"),
        (CaptionMix(("a", "b"), 0, ((1, 2, 5),)), "rows 2 to 5 .* of 4"),
        (CaptionMix(("a", "b"), 0, (), ((1, 4, 0, 1),)), "of row 4, of 4 rows of 6"),
        (CaptionMix(("a", "b"), 0, (), ((1, 0, 3, 7),)), "features 3 to 7 .* of row 0"),
    ],
)
def test_a_mix_of_what_is_not_there_says_what(mix, said):
    assert re.search(said, mix.problem((ROWS, WIDTH)))


def test_a_mix_that_fits_has_no_problem():
    assert not CaptionMix(("a", "b"), 1, ((0, 0, 4),), ((1, 3, 0, 6),)).problem((ROWS, WIDTH))
