"""Counts the tokens of prompts, without the models: a text encoder reads only so many."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffusion.card import Card

FOLDER = "tokenizer"


class TokenCounter:
    """The tokenizers of the models, read when they are first asked for. Thread-safe.

    They are apart from those of the engine, which belong to its thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tokenizers: dict[Path, Any] = {}

    def count(self, card: Card, texts: Sequence[str]) -> list[int]:
        """Returns the tokens of each text with its begin and end, had the encoder no limit."""
        with self._lock:
            tokenizer = self._tokenizers.get(card.folder)
            if tokenizer is None:
                from transformers import AutoTokenizer

                tokenizer = AutoTokenizer.from_pretrained(
                    str(card.folder / FOLDER), local_files_only=True
                )
                tokenizer.deprecation_warnings[_TOO_LONG] = True
                self._tokenizers[card.folder] = tokenizer
            ids = tokenizer(list(texts), truncation=False, padding=False).input_ids
        return [len(row) for row in ids]


# That a text is too long is what is asked here, and no reason for a warning.
_TOO_LONG = "sequence-length-is-longer-than-the-specified-maximum"
