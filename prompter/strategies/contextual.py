"""Contextual diversification: a language model writes out planned scenes."""

from collections.abc import Iterator
from dataclasses import dataclass

from prompter.llm import LanguageModel, Task
from prompter.scenes import Scene, ScenePlan
from prompter.strategy import Prompt, seed_of, seeded_random
from prompter.subject import Subject, with_article
from prompter.texts import are_alike, content_words, continued

# Texts are written this many at a time, always: floating point depends on the shape of a batch,
# so a prompt would otherwise depend on how many were asked for.
CHUNK = 20
# A text that does not name the class, or says what an earlier one says, is drawn anew this often.
REDRAWS = 2


@dataclass(frozen=True)
class Contextual:
    """Prompts that vary foreground, background, place, light, viewpoint and companions.

    Every prompt is written for its own scene of a seeded plan. Where the model fails, the prompt
    is made of the scene's own words and has no model.
    """

    id: str = "contextual"
    description: str = "A language model varies place, light, viewpoint and company of the class."
    source: str = "DIVERSIFY, contextual diversification (CD)"
    needs_llm: bool = True

    def write(
        self, subject: Subject, seed: int, count: int, llm: LanguageModel | None
    ) -> Iterator[Prompt]:
        """Yields `count` prompts. Raises ValueError without a language model."""
        if llm is None:
            raise ValueError("contextual prompts need a language model")
        plan = ScenePlan(seeded_random(subject.class_name, self.id, seed, "plan"))
        writer = _Writer(subject, seed, llm, plan)
        for start in range(0, count, CHUNK):
            yield from writer.write_chunk(start)[: count - start]


class _Writer:
    """Writes one request's prompts and remembers them, to drop what repeats."""

    def __init__(self, subject: Subject, seed: int, llm: LanguageModel, plan: ScenePlan) -> None:
        self._subject, self._seed, self._llm, self._plan = subject, seed, llm, plan
        self._written: list[frozenset[str]] = []

    def write_chunk(self, start: int) -> list[Prompt]:
        """Returns prompts `start` to `start` + CHUNK - 1.

        Texts that cannot be used are drawn anew together, which is much faster than one by one.
        """
        missing, written = list(range(start, start + CHUNK)), dict[int, Prompt]()
        for draw in range(REDRAWS + 1):
            drafts = self._llm.complete([self._task(index, draw) for index in missing])
            for index, draft in zip(missing, drafts, strict=True):
                if text := self._accepted(draft):
                    written[index] = Prompt(self._remembered(text), self._llm.id)
            missing = [index for index in missing if index not in written]
            if not missing:
                break
        for index in missing:
            text = plain_sentence(self._subject.name, self._plan[index])
            written[index] = Prompt(self._remembered(text))
        return [written[index] for index in sorted(written)]

    def _remembered(self, text: str) -> str:
        self._written.append(content_words(text))
        return text

    def _accepted(self, draft: str) -> str:
        """Returns the cleaned text, or "" if it cannot be used."""
        text = continued(_opening(self._subject), draft)
        words = content_words(text)
        says_something = len(words - content_words(self._subject.name)) >= 2
        if not says_something or not self._subject.is_named_in(text):
            return ""
        return "" if any(are_alike(words, earlier) for earlier in self._written) else text

    def _task(self, index: int, draw: int) -> Task:
        seed = seed_of(self._subject.class_name, "contextual", self._seed, index, draw)
        return Task(_instruction(self._subject, self._plan[index]), _opening(self._subject), seed)


def plain_sentence(name: str, scene: Scene) -> str:
    """Returns the prompt made of the scene's own words."""
    text = f"a photo of {with_article(name)} {scene.place}, {scene.light}, {scene.viewpoint}"
    return text if scene.companion == "alone" else f"{text}, {scene.companion}"


def _opening(subject: Subject) -> str:
    return f"a photo of {with_article(subject.name)}"


def _instruction(subject: Subject, scene: Scene) -> str:
    # Unasked, a small model would write down what the thing is instead of the scene.
    kind = f" ({subject.hypernym})" if subject.is_chosen and subject.hypernym else ""
    name = with_article(subject.name) + kind
    facts = f"{scene.place}, {scene.light}, {scene.viewpoint}, {scene.companion}"
    return f"Describe a photo of {name}: {facts}."


STRATEGY = Contextual()
