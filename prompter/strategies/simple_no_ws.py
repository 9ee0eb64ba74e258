"""Every lemma of the class in one sentence, without white space inside the lemmas."""

import random

from prompter.strategy import TemplateStrategy, without_space
from prompter.subject import Subject


def render(subject: Subject, index: int, rng: random.Random) -> str:
    """Returns "A photo of dog, domesticdog, Canisfamiliaris." """
    return f"A photo of {', '.join(without_space(lemma) for lemma in subject.lemmas)}."


STRATEGY = TemplateStrategy(
    id="simple_no_ws",
    description="As simple, with white space removed inside each lemma.",
    source="BURG, tackling class ambiguity by white space removal",
    render=render,
)
