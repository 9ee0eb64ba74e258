"""What a prompt strategy is, and how templates become one."""

import hashlib
import json
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from prompter.llm import LanguageModel
from prompter.subject import Subject

_DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Prompt:
    """A prompt and the id of the language model that wrote it, empty for templates.

    `style` is what is shown instead of a photograph. A prompt with a `problem` could not be
    written and has no text. With `fallback` it says less than its kind asks for, because nobody
    knows more of the class.
    """

    text: str = ""
    model: str = ""
    style: str = ""
    problem: str = ""
    fallback: bool = False


class Strategy(Protocol):
    """A way of writing prompts. Prompt i depends on (subject, strategy, seed, i) alone."""

    @property
    def id(self) -> str: ...

    @property
    def description(self) -> str:
        """One sentence for people."""

    @property
    def source(self) -> str:
        """The paper and section."""

    @property
    def needs_llm(self) -> bool: ...

    def write(
        self,
        subject: Subject,
        seed: int,
        count: int,
        llm: LanguageModel | None,
        deadline: float | None = None,
    ) -> AsyncIterator[Prompt]:
        """Yields `count` prompts in order. `llm` is not None if `needs_llm`; it has until
        `deadline`, a value of time.monotonic()."""


def _nothing(subject: Subject, index: int) -> bool:
    return False


@dataclass(frozen=True)
class TemplateStrategy:
    """A strategy whose prompt follows from the subject, the index and seeded random choices.

    `lacks` says whether the prompt of an index leaves out what is not known of the subject.
    """

    id: str
    description: str
    source: str
    render: Callable[[Subject, int, random.Random], str]
    needs_llm: bool = False
    lacks: Callable[[Subject, int], bool] = _nothing

    async def write(
        self,
        subject: Subject,
        seed: int,
        count: int,
        llm: LanguageModel | None,
        deadline: float | None = None,
    ) -> AsyncIterator[Prompt]:
        """Yields `count` prompts; `llm` is not used."""
        for index in range(count):
            rng = seeded_random(subject.class_name, self.id, seed, index)
            text = self.render(subject, index, rng)
            yield Prompt(text, fallback=self.lacks(subject, index))


def seeded_random(*parts: str | int) -> random.Random:
    """Returns a random generator that depends on the parts alone, on any machine."""
    return random.Random(seed_of(*parts))


def seed_of(*parts: str | int) -> int:
    """Returns 64 bits that depend on the parts alone."""
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big")


def read_lines(name: str) -> tuple[str, ...]:
    """Returns the lines of a data file, without blank ones and comments (#)."""
    lines = (_DATA / name).read_text(encoding="utf-8").splitlines()
    return tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))


def without_space(name: str) -> str:
    """Returns the name without white space."""
    return "".join(name.split())
