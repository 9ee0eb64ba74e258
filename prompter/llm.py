"""What a strategy needs of a language model, whatever serves it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Example:
    """A task well done: its instruction, its opening, and the texts that follow."""

    instruction: str
    texts: tuple[str, ...]
    opening: str = ""


@dataclass(frozen=True)
class Guide:
    """Rules and examples that many tasks share. They come first, so that a server computes them
    once (its prefix cache)."""

    rules: str
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class Task:
    """One text to write: an instruction, and the words that the text must begin with.

    With `most` above 0, up to that many short texts are wanted at once, and no opening. `seed`
    decides every random choice, whichever texts are written with it. `refused` is an earlier reply
    to the same task and `problem` what was wrong with it.
    """

    instruction: str
    seed: int
    guide: Guide
    opening: str = ""
    most: int = 0
    refused: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Reply:
    """What the model answered: texts with their opening, or why they cannot be used.

    `raw` is the reply as it came.
    """

    texts: tuple[str, ...] = ()
    raw: str = ""
    problem: str = ""


class LanguageModel(Protocol):
    """Writes texts."""

    @property
    def id(self) -> str:
        """The model's name, and the first 12 characters of its digest where there is one."""

    @property
    def chunk(self) -> int:
        """How many texts to ask for at a time."""

    @property
    def whole_chunks(self) -> bool:
        """True if texts depend on how many are written together, so that it must not vary."""

    @property
    def lists(self) -> bool:
        """True if it can write several texts at once; small models in process cannot."""

    async def complete(self, tasks: Sequence[Task], deadline: float | None) -> list[Reply]:
        """Returns one reply per task. A call that is cancelled stops the work.

        `deadline` is a value of time.monotonic(); past it, the call raises DeadlineExceeded. A
        server of the model that cannot be reached or answers nonsense is Unavailable; one that
        does not have the model is a Precondition.
        """

    async def close(self) -> None:
        """Releases what the model holds."""


@dataclass(frozen=True)
class LanguageModelSource:
    """Where a language model comes from. It is loaded by `open`, blocking, when first needed.

    `problem` is None if it can be used, else a sentence with the remedy. `identify` returns the id
    that the model will have; it reads its files, blocking, and loads nothing.
    """

    open: Callable[[], LanguageModel]
    problem: str | None
    identify: Callable[[], str] = lambda: ""
