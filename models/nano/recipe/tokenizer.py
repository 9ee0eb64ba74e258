"""CLIP's byte-pair tokenizer with the first few thousand merges only, so that models stay small."""

import gzip
import random
from importlib.resources import files
from pathlib import Path

import torch
from torch import Tensor
from transformers import CLIPTokenizer

MERGES = 3582
CONTEXT = 32  # tokens, the m of this family
VOCABULARY = 512 + MERGES + 2
START, END = VOCABULARY - 2, VOCABULARY - 1


def build() -> CLIPTokenizer:
    """Builds the tokenizer from the vocabulary that open_clip ships (MIT licence)."""
    packed = files("open_clip").joinpath("bpe_simple_vocab_16e6.txt.gz").read_bytes()
    lines = gzip.decompress(packed).decode("utf-8").split("\n")[1 : MERGES + 1]
    merges = [(first, second) for first, second in (line.split() for line in lines)]
    letters = _byte_letters()
    words = letters + [letter + "</w>" for letter in letters]
    words += [first + second for first, second in merges]
    words += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: index for index, word in enumerate(words)}
    tokenizer: CLIPTokenizer = CLIPTokenizer(
        vocab=vocabulary, merges=merges, model_max_length=CONTEXT
    )
    return tokenizer


def _byte_letters() -> list[str]:
    """CLIP's printable stand-ins for the 256 bytes, in the order of its vocabulary."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return [chr(byte) for byte in plain] + [chr(256 + place) for place in range(len(others))]


def save(folder: Path) -> None:
    """Writes the tokenizer's files into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    build().save_pretrained(folder)


def encode(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Texts -> ids [n, CONTEXT], padded with the end token."""
    batch = tokenizer(
        texts, padding="max_length", truncation=True, max_length=CONTEXT, return_tensors="pt"
    )
    ids: Tensor = batch["input_ids"]
    return ids


def splice(ids: Tensor, rng: random.Random, *, share: float = 0.3, most: int = 6) -> Tensor:
    """Puts up to `most` random tokens at random places into a share of the texts.

    Language models write prompts full of words that no training caption has. A text tower that has
    seen noise learns to read the words it knows and to pass over the others. [n, m] -> [n, m].
    """
    rows = ids.tolist()
    for row in rows:
        if rng.random() >= share:
            continue
        end = row.index(END)
        words = row[1:end]
        for _ in range(rng.randint(1, most if rng.random() < 0.8 else 4 * most)):
            words.insert(rng.randint(0, len(words)), rng.randrange(512, START))
        words = words[: len(row) - 2]
        row[:] = [START, *words, *[END] * (len(row) - 1 - len(words))]
    return torch.tensor(rows, dtype=ids.dtype)
