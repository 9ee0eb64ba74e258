"""Planned pictures, written out by a language model: what the strategies with an LLM share."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from prompter.asking import ask
from prompter.combinations import Combinations
from prompter.guides import PICTURES
from prompter.llm import LanguageModel, Reply, Task
from prompter.strategy import Prompt, read_lines, seed_of, seeded_random
from prompter.styles import name_styles
from prompter.subject import Subject, with_article
from prompter.texts import are_alike, content_words, continued

PHOTO = "photo"
# A text with this share of an example's words, besides those it was told, is a copy of it.
_COPIED = 0.6
_EXAMPLES = [content_words(text) for example in PICTURES.examples for text in example.texts]
_SCENE = ("places.txt", "lights.txt", "viewpoints.txt", "companions.txt")


@dataclass(frozen=True)
class PictureStrategy:
    """Prompts for pictures of a seeded plan: in scenes, in styles, or both.

    A prompt that the model cannot write within its retries has a problem and no text.
    """

    id: str
    description: str
    source: str
    scenes: bool
    styles: bool
    needs_llm: bool = True

    async def write(
        self,
        subject: Subject,
        seed: int,
        count: int,
        llm: LanguageModel | None,
        deadline: float | None = None,
    ) -> AsyncIterator[Prompt]:
        """Yields `count` prompts. Raises ValueError without a language model."""
        if llm is None:
            raise ValueError(f"{self.id} prompts need a language model")
        styles = await name_styles(subject, seed, llm, deadline) if self.styles else [PHOTO]
        lists = [styles, *(_words(name, subject) for name in _SCENE if self.scenes)]
        plan = Combinations(lists, seeded_random(subject.class_name, self.id, seed, "plan"))
        writer = _Writer(subject, (self.id, seed), llm, plan)
        for start in range(0, count, llm.chunk):
            size = llm.chunk if llm.whole_chunks else min(llm.chunk, count - start)
            for prompt in (await writer.write(start, size, deadline))[: count - start]:
                yield prompt


class _Writer:
    """Writes one request's prompts and remembers them, so that none says what another does."""

    def __init__(
        self, subject: Subject, seed: tuple[str, int], llm: LanguageModel, plan: Combinations
    ) -> None:
        self._subject, self._seed, self._llm, self._plan = subject, seed, llm, plan
        self._written: dict[int, frozenset[str]] = {}

    async def write(self, start: int, size: int, deadline: float | None) -> list[Prompt]:
        """Returns prompts `start` to `start + size - 1`."""
        tasks = [self._task(start + number) for number in range(size)]

        def check(number: int, reply: Reply) -> Reply:
            return self._checked(start + number, tasks[number], reply)

        replies = await ask(self._llm, tasks, check, deadline)
        return [self._prompt(start + number, reply) for number, reply in enumerate(replies)]

    def _task(self, index: int) -> Task:
        style, *facts = self._plan[index]
        opening = self._opening(style)
        # What the thing is comes in brackets: a small model would write it down otherwise.
        kind = f" ({self._subject.kind})" if self._subject.is_chosen and self._subject.kind else ""
        shown = f": {', '.join(facts)}" if facts else ""
        name = with_article(self._subject.name)
        return Task(
            instruction=f"Describe {with_article(style)} of {name}{kind}{shown}.",
            seed=seed_of(self._subject.class_name, *self._seed, index),
            guide=PICTURES,
            opening=opening,
        )

    def _opening(self, style: str) -> str:
        subject = self._subject
        meant = f", {with_article(subject.kind)}" if subject.is_unusual and subject.kind else ""
        return f"{with_article(style)} of {with_article(subject.name)}{meant}"

    def _checked(self, index: int, task: Task, reply: Reply) -> Reply:
        """Returns the reply tidied up, or with what is wrong with it."""
        text = continued(task.opening, reply.texts[0])
        words = content_words(text)
        own = words - content_words(task.instruction)
        # Only prompts before it count, so that it does not depend on how many come after it.
        earlier = (w for number, w in self._written.items() if number < index)
        problem = ""
        if not self._subject.is_named_in(text):
            problem = f"it does not name {self._subject.name!r}"
        elif other := self._subject.other_named_in(text):
            problem = f"it names {other!r}, which is another class"
        elif len(words - content_words(task.opening)) < 2:
            problem = "it says too little"
        elif any(len(shown & own) >= _COPIED * len(shown) for shown in _EXAMPLES):
            problem = "it copies an example"
        elif any(are_alike(words, written) for written in earlier):
            problem = "it says the same as an earlier one"
        else:
            self._written[index] = words
        return Reply((text,), reply.raw, problem)

    def _prompt(self, index: int, reply: Reply) -> Prompt:
        style = self._plan[index][0]
        shown = "" if style == PHOTO else style
        if reply.problem:
            return Prompt(model=self._llm.id, style=shown, problem=reply.problem)
        return Prompt(reply.texts[0], self._llm.id, shown)


def _words(name: str, subject: Subject) -> Sequence[str]:
    """Returns the lines of a list in which no other class is named: no birds beside aeroplanes."""
    lines = read_lines(name)
    return [line for line in lines if not subject.other_named_in(line)] or lines
