"""Six kinds of prompts in turn: name, hypernym, multiple, definition and place."""

import random

from prompter.strategy import TemplateStrategy, read_lines
from prompter.subject import Subject

PLACES = read_lines("places.txt")
_COUNT = 6  # Kinds of prompts.
_DEFINED = 4  # The one with the definition; all others but the first have the hypernym.


def render(subject: Subject, index: int, rng: random.Random) -> str:
    """Returns a prompt of category `index` mod 6, so that every category has an equal share.

    The background is one of our own list of places; the paper draws from the Places dataset. What
    WordNet does not know is left out, which `lacks` says.
    """
    name = ", ".join(subject.lemmas)
    kind = f"{name}, {subject.hypernym}" if subject.hypernym else name
    described = f"{name}, {subject.definition}" if subject.definition else name
    categories = (
        name,
        kind,
        f"multiple {kind}",
        f"multiple different {kind}",
        described,
        f"{kind} {rng.choice(PLACES)}",
    )
    return categories[index % _COUNT]


def lacks(subject: Subject, index: int) -> bool:
    """Says whether WordNet lacks what prompt `index` should say."""
    kind = index % _COUNT
    return bool(kind) and not (subject.definition if kind == _DEFINED else subject.hypernym)


STRATEGY = TemplateStrategy(
    id="sariyildiz",
    description="Name, hypernym, multiple, multiple different, definition and background, in turn.",
    source="BURG, prompt generation, after Sariyildiz et al.",
    render=render,
    lacks=lacks,
)
