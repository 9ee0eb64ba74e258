"""What a prompt is about: a class name and what it means."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from prompter.wordnet import Sense, WordNet, has_id
from servicekit.errors import InvalidArgument

# What ends within so many characters of a list of lemmas is within what every text encoder reads.
_EARLY = 24


@dataclass(frozen=True)
class Subject:
    """A class, what it is called and its meaning; `sense` is None if WordNet does not know it.

    `is_chosen` says that somebody chose the sense, so that texts may explain it, and `is_unusual`
    that it is not the one that the name alone would be taken for, so that they must. `others` are
    the readable names of the classes that it must not be confused with.
    """

    class_name: str
    name: str
    sense: Sense | None
    is_chosen: bool = False
    is_unusual: bool = False
    others: tuple[str, ...] = ()

    @property
    def lemmas(self) -> tuple[str, ...]:
        """All names of the class; its own name alone if WordNet does not know it.

        Its own comes first if WordNet does not have it, or if so much stands before it that a text
        encoder might cut it off.
        """
        if self.sense is None:
            return (self.name,)
        lemmas = self.sense.lemmas
        own = next((lemma for lemma in lemmas if _is_same(lemma, self.name)), None)
        if own and len(", ".join(lemmas[: lemmas.index(own) + 1])) <= _EARLY:
            return lemmas
        return (own or self.name, *(lemma for lemma in lemmas if lemma != own))

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
        return any(_matches(name, text) for name in (self.name, *self.lemmas))

    @property
    def kind(self) -> str:
        """What it is a kind of, or else what it is; empty if unknown."""
        return self.hypernym or self.definition

    def other_named_in(self, text: str) -> str:
        """Returns the name of another class that `text` has in it; empty if there is none.

        A name inside the class's own name does not count: a fire truck is no truck.
        """
        rest = text.lower()
        for name in (self.name, *self.lemmas):
            rest = _pattern(name).sub(" ", rest)
        return next((other for other in self.others if _matches(other, rest)), "")


def find_subject(
    wordnet: WordNet,
    class_name: str,
    sense_name: str = "",
    meaning: str = "",
    others: Sequence[str] = (),
    display_name: str = "",
) -> Subject:
    """Returns the subject, in the sense or meaning asked for or else in the most frequent sense.

    `display_name` is what it is called, and `others` what it must not be confused with.

    `meaning` says in words what the name means where no sense of WordNet does. Raises
    InvalidArgument if the class name is blank or the sense does not exist.
    """
    readable = _readable(display_name or class_name)
    if not _readable(class_name) or not readable:
        raise InvalidArgument(
            f"class_name is blank ({class_name!r}); write a name such as 'fire truck'",
            field="class_name",
            reason="CLASS_NAME_BLANK",
        )
    own = readable
    senses = senses_of(wordnet, class_name, display_name)
    first = sense = senses[0] if senses else None
    if sense_name:
        sense = _known(wordnet, sense_name, readable, senses)
    elif meaning:
        sense = sense_of(readable, meaning)
    if sense and sense.lemmas and has_id(readable):
        readable = sense.lemmas[0]  # an ImageNet id is not a name
    return Subject(
        class_name,
        readable,
        sense,
        is_chosen=bool(sense_name or meaning),
        is_unusual=sense != first,
        others=tuple(name for name in map(_readable, others) if name not in (own, readable)),
    )


def senses_of(wordnet: WordNet, class_name: str, display_name: str = "") -> list[Sense]:
    """Returns what a class can mean, the most frequent first: what its ImageNet id says, if it has
    one, or else the senses of what it is called."""
    if display_name and not has_id(class_name):
        return wordnet.senses(display_name)
    return wordnet.senses(class_name)


def sense_of(name: str, meaning: str) -> Sense:
    """Returns the sense of a meaning in words, which has no name in WordNet."""
    return Sense("", (_readable(name),), meaning, ())


def _known(wordnet: WordNet, name: str, readable: str, senses: Sequence[Sense]) -> Sense:
    sense = wordnet.sense(name)
    if sense is None:
        known = ", ".join(s.name for s in senses) or "none"
        raise InvalidArgument(
            f"WordNet has no noun sense {name!r}; those of {readable!r} are: {known}",
            field="sense",
            reason="SENSE_UNKNOWN",
        )
    return sense


def with_article(noun: str) -> str:
    """Returns the noun with "a" or "an"."""
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def _readable(class_name: str) -> str:
    return " ".join(class_name.replace("_", " ").split())


def _matches(name: str, text: str) -> bool:
    return _pattern(name).search(text.lower()) is not None


def _is_same(name: str, other: str) -> bool:
    return _pattern(name).fullmatch(other.lower()) is not None


def _pattern(name: str) -> re.Pattern[str]:
    # Letters of the name in order, with nothing but white space or hyphens between them.
    joined = re.sub(r"[\s_-]+", "", name.lower())
    letters = r"[\s_-]*".join(re.escape(letter) for letter in joined)
    return re.compile(rf"(?<!\w){letters}(?:e?s)?(?!\w)")
