"""Learned pseudo-words in prompts: textual inversion (Gal et al. 2022, section 3).

A word stands for a few vectors, which take the places of token embeddings in the text encoder.
Neither tokenizer nor embedding table is changed: texts of several words, and of none, share calls.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

# Stands where a vector is put. It must not be the token that ends a text, which encoders look for.
_PLACEHOLDER = 0
_NO_VECTOR = -1


@dataclass(frozen=True)
class Word:
    """A pseudo-word. `vectors` [n, width] stand for it, by the part that encodes the text.

    `sha256` is the digest of the artefact that it is of.
    """

    word: str
    sha256: str
    vectors: Mapping[str, Tensor] = field(compare=False, repr=False)

    @property
    def token_count(self) -> int:
        """The number n of its vectors."""
        return len(next(iter(self.vectors.values())))


@dataclass(frozen=True)
class Prompt:
    """A prompt, and the pseudo-words that are in it."""

    text: str
    words: tuple[Word, ...] = ()


def prompt_of(text: str, words: Sequence[Word] = ()) -> Prompt:
    """Returns the prompt with those of the words that are in its text."""
    return Prompt(text, tuple(words_in(text, words)))


def words_in(text: str, words: Sequence[Word]) -> list[Word]:
    """Returns those of the words that are in a text.

    A word is one where no letter, digit or underscore is beside it; its case counts.
    """
    if not words:
        return []
    found = set(_pattern(words).findall(text))
    return [word for word in words if word.word in found]


def is_known(tokenizer: Any, word: str) -> bool:
    """Says whether a word is a token of the tokenizer already, and has a vector there."""
    ids = tokenizer(word, add_special_tokens=False).input_ids
    return len(ids) == 1 and ids[0] != tokenizer.unk_token_id


def count_tokens(tokenizer: Any, prompt: Prompt) -> int:
    """Returns the tokens of a prompt with its begin and end, had the encoder no limit."""
    return 2 + sum(
        part.token_count if isinstance(part, Word) else len(_ids(tokenizer, part))
        for part in _parts(prompt)
    )


@dataclass(frozen=True, eq=False)
class TokenRows:
    """Prompts as rows of tokens.

    `ids` [n, m] are of the tokenizer. `places` [n, m] say which row of `table` [k, width] is the
    embedding of a token; -1 is the encoder's own.
    """

    ids: Tensor
    places: Tensor
    table: Tensor

    def to(self, device: torch.device) -> "TokenRows":
        """Returns the rows on a device."""
        return TokenRows(self.ids.to(device), self.places.to(device), self.table.to(device))


def token_rows(tokenizer: Any, prompts: Sequence[Prompt], length: int, part: str) -> TokenRows:
    """Returns rows of `length` tokens, for the encoder `part`; longer prompts are cut."""
    words = list(dict.fromkeys(word for prompt in prompts for word in prompt.words))
    starts: dict[Word, int] = {}
    for word in words:
        starts[word] = sum(known.token_count for known in starts)
    tokens = tokenizer(
        [prompt.text for prompt in prompts],
        padding="max_length",
        max_length=length,
        truncation=True,
        return_tensors="pt",
    )
    ids: Tensor = tokens.input_ids
    places = torch.full_like(ids, _NO_VECTOR)
    for number, prompt in enumerate(prompts):
        if prompt.words:
            ids[number], places[number] = _row(tokenizer, prompt, length, starts)
    table = torch.cat([word.vectors[part].float() for word in words]) if words else torch.empty(0)
    return TokenRows(ids, places, table)


@contextmanager
def vectors_in_place(encoder: Any, places: Tensor, table: Tensor) -> Iterator[None]:
    """While it is entered, `encoder` embeds tokens by `table` where `places` say so.

    Both are on the encoder's device. Gradients reach the table.
    """
    if not len(table):
        yield
        return

    def put(module: Any, inputs: Any, embedded: Tensor) -> Tensor:
        vectors = table.to(embedded.dtype)[places.clamp(min=0)]
        return torch.where((places == _NO_VECTOR)[..., None], embedded, vectors)

    hook = encoder.get_input_embeddings().register_forward_hook(put)
    try:
        yield
    finally:
        hook.remove()


def _row(
    tokenizer: Any, prompt: Prompt, length: int, starts: Mapping[Word, int]
) -> tuple[Tensor, Tensor]:
    """Returns the ids and the places of a prompt's tokens, as a tokenizer with the words would."""
    ids, places = [], []
    for part in _parts(prompt):
        if isinstance(part, Word):
            own = range(starts[part], starts[part] + part.token_count)
            ids += [_PLACEHOLDER] * len(own)
            places += list(own)
        else:
            plain = _ids(tokenizer, part)
            ids += plain
            places += [_NO_VECTOR] * len(plain)
    most = length - 2
    ids = [tokenizer.bos_token_id, *ids[:most], tokenizer.eos_token_id]
    places = [_NO_VECTOR, *places[:most], _NO_VECTOR]
    ids += [tokenizer.pad_token_id] * (length - len(ids))
    places += [_NO_VECTOR] * (length - len(places))
    return torch.tensor(ids), torch.tensor(places)


def _parts(prompt: Prompt) -> Iterator[str | Word]:
    """Yields the words of a prompt, and the texts between them."""
    if not prompt.words:
        yield prompt.text
        return
    by_name = {word.word: word for word in prompt.words}
    for part in re.split(f"({_pattern(prompt.words).pattern})", prompt.text):
        if part in by_name:
            yield by_name[part]
        elif part.strip():
            yield part


def _pattern(words: Sequence[Word]) -> re.Pattern[str]:
    # The longest first: of two that begin alike the shorter would be found in the longer.
    names = sorted((re.escape(word.word) for word in words), key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(names)})(?!\w)")


def _ids(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False).input_ids
    return ids
