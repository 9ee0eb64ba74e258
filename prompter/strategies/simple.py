"""Every lemma of the class in one sentence."""

import random

from prompter.strategy import TemplateStrategy
from prompter.subject import Subject


def render(subject: Subject, index: int, rng: random.Random) -> str:
    """Returns "A photo of dog, domestic dog, Canis familiaris." """
    return f"A photo of {', '.join(subject.lemmas)}."


STRATEGY = TemplateStrategy(
    id="simple",
    description='"A photo of {n}." where n is every lemma of the class.',
    source="BURG, prompt generation",
    render=render,
)
