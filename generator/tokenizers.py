"""The tokenizers of the models, without the models: what a text encoder knows and reads."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffusion.card import ModelCard
from diffusion.words import Word, count_tokens, is_known, prompt_of

FOLDER = "tokenizer"


class Tokenizers:
    """The tokenizers, read when they are first asked for. Thread-safe.

    They are apart from those of the engine, which belong to its thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tokenizers: dict[Path, Any] = {}

    def count(self, card: ModelCard, texts: Sequence[str], words: Sequence[Word] = ()) -> list[int]:
        """Returns the tokens of each text with its begin and end, had the encoder no limit.

        Pseudo-words in the texts count as many as they have vectors.
        """
        with self._lock:
            tokenizer = self._of(card)
            return [count_tokens(tokenizer, prompt_of(text, words)) for text in texts]

    def know(self, card: ModelCard, word: str) -> bool:
        """Says whether a word is one token already."""
        with self._lock:
            return is_known(self._of(card), word)

    def _of(self, card: ModelCard) -> Any:
        tokenizer = self._tokenizers.get(card.folder)
        if tokenizer is None:
            from transformers import AutoTokenizer

            tokenizer = AutoTokenizer.from_pretrained(
                str(card.folder / FOLDER), local_files_only=True
            )
            tokenizer.deprecation_warnings[_TOO_LONG] = True
            self._tokenizers[card.folder] = tokenizer
        return tokenizer


# That a text is too long is what is asked here, and no reason for a warning.
_TOO_LONG = "sequence-length-is-longer-than-the-specified-maximum"
