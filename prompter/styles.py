"""The styles in which a class can be shown: the language model's own, and ours."""

import re

from prompter.asking import ask
from prompter.guides import STYLES
from prompter.llm import LanguageModel, Reply, Task
from prompter.strategy import read_lines, seed_of
from prompter.subject import Subject, with_article

OWN_STYLES = read_lines("styles.txt")
_MOST, _LEAST = 12, 3


async def name_styles(
    subject: Subject, seed: int, llm: LanguageModel, deadline: float | None
) -> list[str]:
    """Returns the styles that the model names for the class, then ours; each once.

    Ours alone if the model cannot write lists, or names fewer than three that can be used.
    """
    named: tuple[str, ...] = ()
    if llm.lists:
        task = Task(
            instruction=f"List styles in which {with_article(subject.name)} can be shown.",
            seed=seed_of(subject.class_name, "styles", seed),
            guide=STYLES,
            most=_MOST,
        )
        [reply] = await ask(llm, [task], lambda _, reply: _checked(subject, reply), deadline)
        named = () if reply.problem else reply.texts
    return list(dict.fromkeys((*named, *OWN_STYLES)))


def _checked(subject: Subject, reply: Reply) -> Reply:
    """Returns the reply with the styles that can be used, each once."""
    styles = [text.lower().removeprefix("a ").removeprefix("an ") for text in reply.texts]
    usable = tuple(dict.fromkeys(style for style in styles if _is_style(style, subject)))
    problem = "" if len(usable) >= _LEAST else "fewer than three are styles of two to four words"
    return Reply(usable, reply.raw, problem)


def _is_style(text: str, subject: Subject) -> bool:
    # One word is more often a thing or an adjective than a kind of picture.
    is_short = re.fullmatch(r"[a-z-]+( [a-z-]+){1,3}", text) is not None
    is_photo = re.search(r"photo", text) is not None
    named = subject.is_named_in(text) or bool(subject.other_named_in(text))
    return is_short and not is_photo and not named
