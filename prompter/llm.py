"""What a strategy needs of a language model, whatever serves it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Task:
    """One text to write: an instruction, and the words that the answer must begin with.

    `seed` decides every random choice of this text, whichever texts are written with it.
    """

    instruction: str
    opening: str
    seed: int
    max_tokens: int = 20


class LanguageModel(Protocol):
    """Writes texts. Blocking; called from one thread at a time."""

    @property
    def id(self) -> str:
        """The model's name, and the first 12 characters of its digest where there is one."""

    def complete(self, tasks: Sequence[Task]) -> list[str]:
        """Returns one text per task, opening included, not cleaned up.

        Raises Unavailable if a server of the model cannot be reached.
        """


@dataclass(frozen=True)
class LanguageModelSource:
    """Where a language model comes from. It is loaded by `open` when first needed.

    `problem` is None if it can be used, else a sentence with the remedy.
    """

    open: Callable[[], LanguageModel]
    problem: str | None
