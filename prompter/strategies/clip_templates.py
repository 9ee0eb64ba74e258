"""CLIP's ImageNet templates, drawn at random."""

import random

from prompter.strategy import TemplateStrategy, read_lines, without_space
from prompter.subject import Subject

TEMPLATES = read_lines("clip_templates.txt")


def render(subject: Subject, index: int, rng: random.Random) -> str:
    """Returns a template drawn with replacement, around all lemmas without white space."""
    name = ", ".join(without_space(lemma) for lemma in subject.lemmas)
    return rng.choice(TEMPLATES).replace("{}", name)


STRATEGY = TemplateStrategy(
    id="clip_templates",
    description="One of CLIP's 80 ImageNet templates at random, lemmas without white space.",
    source="BURG, prompt generation",
    render=render,
)
