"""The family's tokenizer, read by open_clip and by transformers."""

import random

import open_clip
import torch
from transformers import AutoTokenizer, CLIPTokenizer

from models.nano.recipe import captioner, tokenizer
from models.nano.recipe.settings import NANO

TEXTS = [
    "A photo of airplane, aeroplane, plane.",
    "This is an image of dog, a brown dog on a green background, bright",
    "  An   unfamiliar  Zebra's café -- 12,5 %!  ",
    "",
    "word " * 60,
]


def test_open_clip_and_transformers_read_the_same_tokens_from_their_folders() -> None:
    ours = open_clip.get_tokenizer(f"local-dir:{NANO / 'clip'}")(TEXTS)
    theirs = CLIPTokenizer.from_pretrained(NANO / "diffusion" / "text" / "tokenizer")
    ids = theirs(TEXTS, padding="max_length", truncation=True, return_tensors="pt").input_ids
    assert ours.shape == (5, tokenizer.CONTEXT)
    assert torch.equal(ours, ids)


def test_short_words_have_the_numbers_of_the_full_clip_vocabulary() -> None:
    full = open_clip.SimpleTokenizer()
    words = tokenizer.build()("a photo of a dog", add_special_tokens=False).input_ids
    assert words == full.encode("a photo of a dog")


def test_a_long_text_is_cut_and_still_ends_with_the_end_token() -> None:
    ids = tokenizer.encode(tokenizer.build(), ["word " * 60])[0]
    assert (int(ids[0]), int(ids[-1])) == (tokenizer.START, tokenizer.END)


def test_spliced_noise_keeps_length_start_and_end() -> None:
    ids = tokenizer.encode(tokenizer.build(), ["a photo of a cat"] * 200)
    noisy = tokenizer.splice(ids, random.Random(0), share=1.0)
    assert noisy.shape == ids.shape
    assert bool((noisy[:, 0] == tokenizer.START).all())
    assert bool((noisy[:, -1] == tokenizer.END).all())
    assert bool((noisy != ids).any(1).all())


def test_noise_of_share_zero_changes_nothing() -> None:
    ids = tokenizer.encode(tokenizer.build(), TEXTS)
    assert torch.equal(tokenizer.splice(ids, random.Random(0), share=0.0), ids)


def test_the_captioner_writes_text_without_gaps_before_commas() -> None:
    words = AutoTokenizer.from_pretrained(NANO / "captioner")
    text = "this is an image of dog, a brown dog on a green background, bright."
    ids = words(text).input_ids
    assert ids[0] == tokenizer.START
    assert tokenizer.END not in ids
    assert words.decode(ids, skip_special_tokens=True) == text
    assert words.convert_tokens_to_ids("<image>") == captioner.IMAGE
