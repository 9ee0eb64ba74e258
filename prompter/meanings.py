"""What a class name can mean: WordNet's senses, and those that a language model adds."""

import re
from collections.abc import Sequence

from prompter.asking import ask
from prompter.guides import MEANINGS
from prompter.llm import LanguageModel, Reply, Task
from prompter.strategy import seed_of
from prompter.subject import Subject, find_subject, senses_of, with_article
from prompter.texts import content_words
from prompter.wordnet import Sense, WordNet

_MOST = 6
# A meaning of which this share of words is in a sense of WordNet is that sense.
_SAME = 0.5
_EXAMPLES = [content_words(text) for example in MEANINGS.examples for text in example.texts]


async def described(
    wordnet: WordNet,
    class_name: str,
    others: Sequence[str],
    llm: LanguageModel,
    deadline: float | None,
    display_name: str = "",
) -> list[str]:
    """Returns the meanings that the model knows and WordNet does not, as short descriptions.

    None if the model's replies cannot be used.
    """
    subject = find_subject(wordnet, class_name, others=others, display_name=display_name)
    senses = senses_of(wordnet, class_name, display_name)
    known = "; ".join(sense.definition for sense in senses[:_MOST])
    context = f" A dictionary has: {known}." if known else ""
    task = Task(
        instruction=f"What can the name {subject.name!r} mean?{context}",
        seed=seed_of(class_name, "meanings"),
        guide=MEANINGS,
        most=_MOST,
    )

    def check(_: int, reply: Reply) -> Reply:
        clear = [text for text in dict.fromkeys(reply.texts) if _is_clear(text, subject)]
        problem = "" if clear else "no meaning is a short description of another kind of thing"
        return Reply(tuple(clear), reply.raw, problem)

    [reply] = await ask(llm, [task], check, deadline)
    return [] if reply.problem else [text for text in reply.texts if not _is_known(text, senses)]


def scored_text(class_name: str, sense: Sense) -> str:
    """Returns the text of a sense to compare with images: a caption that says what kind it is.

    Definitions are left out where there is a hypernym: captions do not sound like dictionaries.
    """
    name = sense.lemmas[0] if sense.lemmas else class_name
    kind = sense.hypernyms[0] if sense.hypernyms else sense.definition
    return f"a photo of {with_article(name)}, {with_article(kind)}"


def _is_clear(text: str, subject: Subject) -> bool:
    """Says whether a text describes a thing in a few words and names no class, also not its own."""
    is_short = re.fullmatch(r"(?:an? |the )?[a-z]+(?:[ -][a-z]+){2,9}", text) is not None
    return is_short and not subject.is_named_in(text) and not subject.other_named_in(text)


def _is_known(text: str, senses: Sequence[Sense]) -> bool:
    words = content_words(text)
    if words in _EXAMPLES:
        return True
    return any(
        len(words & content_words(f"{sense.definition} {' '.join(sense.hypernyms)}"))
        >= _SAME * len(words)
        for sense in senses
    )
