"""What a prompt is about: a class name and what it means."""

import re
from dataclasses import dataclass

from prompter.wordnet import Sense, WordNet
from servicekit.errors import InvalidArgument


@dataclass(frozen=True)
class Subject:
    """A class, its readable name and its meaning; `sense` is None if WordNet does not know it.

    `is_chosen` says that somebody chose the sense, so that texts may explain it.
    """

    class_name: str
    name: str
    sense: Sense | None
    is_chosen: bool = False

    @property
    def lemmas(self) -> tuple[str, ...]:
        """All names of the class; its own name alone if WordNet does not know it."""
        return self.sense.lemmas if self.sense else (self.name,)

    @property
    def hypernym(self) -> str:
        """The name of what it is a kind of; empty if unknown."""
        return self.sense.hypernyms[0] if self.sense and self.sense.hypernyms else ""

    @property
    def definition(self) -> str:
        """WordNet's definition; empty if unknown."""
        return self.sense.definition if self.sense else ""

    def is_named_in(self, text: str) -> bool:
        """Says whether `text` has the class name or one of its lemmas as whole words.

        Case, plural s and white space inside the name make no difference.
        """
        names = {_joined(name) for name in (self.name, *self.lemmas)}
        return any(_has_words(text, name) for name in names)


def find_subject(wordnet: WordNet, class_name: str, sense_name: str = "") -> Subject:
    """Returns the subject, in the sense asked for or else in the most frequent one.

    Raises InvalidArgument if the class name is blank or the sense does not exist.
    """
    readable = " ".join(class_name.replace("_", " ").split())
    if not readable:
        raise InvalidArgument(
            f"class_name is blank ({class_name!r}); write a name such as 'fire truck'",
            field="class_name",
            reason="CLASS_NAME_BLANK",
        )
    senses = wordnet.senses(class_name)
    sense = senses[0] if senses else None
    if sense_name:
        sense = wordnet.sense(sense_name)
        if sense is None:
            known = ", ".join(s.name for s in senses) or "none"
            raise InvalidArgument(
                f"WordNet has no noun sense {sense_name!r}; those of {readable!r} are: {known}",
                field="sense",
                reason="SENSE_UNKNOWN",
            )
    if sense and re.fullmatch(r"n?\d{8}", readable):
        readable = sense.lemmas[0]  # an ImageNet id is not a name
    return Subject(class_name, readable, sense, is_chosen=bool(sense_name))


def with_article(noun: str) -> str:
    """Returns the noun with "a" or "an"."""
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def _joined(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name.lower())


def _has_words(text: str, joined: str) -> bool:
    # Letters of the name in order, with nothing but white space or hyphens between them.
    letters = r"[\s_-]*".join(re.escape(letter) for letter in joined)
    return re.search(rf"(?<!\w){letters}(?:e?s)?(?!\w)", text.lower()) is not None
