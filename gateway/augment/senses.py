"""What a class name means: the sense whose text its real images look most like (DIVERSIFY)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.digests import Plain
from servicekit.errors import InvalidArgument

Array = NDArray[np.float32]

# A sense wins if it is nearer by this much in cosine similarity, and by this many standard errors
# over many images (more over a few); the paper gives no threshold. One that is not the commonest
# needs more: 0.05 before the commonest is what CLIP's mistakes stay below with boats that are no
# gravy boats and strawberries that are no birthmarks (`python -m benchmarks.senses`).
LEAST_MARGIN, LEAST_ERRORS = 0.01, 2.0
LEAST_BEFORE_COMMONEST = 0.05
# Meanings that are told one by one.
_DESCRIBED = 40


@dataclass(frozen=True)
class Sense:
    """A meaning that a class may have, WordNet's or a language model's.

    `name` is WordNet's, empty for others. `text` is what images are compared with.
    """

    name: str
    definition: str
    text: str = ""
    model: str = ""

    @property
    def label(self) -> str:
        """What people read, and what pins it."""
        return self.name or self.definition


@dataclass(frozen=True)
class SenseChoice:
    """The sense of a class. `scores` are those of all senses by label, the best first.

    A score is the mean cosine similarity of the class's images to the sense's text. `margin` is
    what the best has before the second best; a choice that was pinned or had no alternative has
    none. `ambiguous`: the images do not show for sure which sense it is, and it is the commonest.
    """

    sense: Sense
    margin: float = 0.0
    ambiguous: bool = False
    pinned: bool = False
    scores: tuple[tuple[str, float], ...] = ()

    @property
    def described(self) -> str:
        """What people read: the definition, the name that pins it, and how sure it is."""
        sense = self.sense
        name = f" ({sense.name})" if sense.name and sense.definition else ""
        why = "; the photographs do not show it for sure" if self.ambiguous else ""
        why = "; pinned" if self.pinned else why
        return f"{sense.definition or sense.name}{name}{why}"

    def lineage(self) -> dict[str, Plain]:
        """Returns what an image's lineage says of it."""
        return {
            "sense": self.sense.label,
            "definition": self.sense.definition,
            "margin": self.margin,
            "ambiguous": self.ambiguous,
            "pinned": self.pinned,
            "scores": dict(self.scores),
        }


def choose(
    senses: Sequence[Sense], texts: Array, images: Array, others: Sequence[Array] = ()
) -> SenseChoice:
    """Returns the sense that the images look most like, or the first where they do not show it.

    The senses are the commonest first, `texts` their unit vectors [senses, d], `images` those of
    the class [n, d], `others` those of each other class [m, d]. The choice is ambiguous, and the
    first sense is taken, if another sense is as near by chance, if the first is nearly as near, or
    if another class's images are nearer to the text: CLIP then hardly knows its words, and where
    it knows none of a name's senses, most of those that lead are wrong.
    """
    each = images @ texts.T
    scores = each.mean(axis=0)
    order = np.argsort(-scores, kind="stable")
    best = int(order[0])
    leads = each[:, [best]] - each
    is_clear = all(_is_clear(leads[:, i]) for i in range(len(senses)) if i != best)
    is_own = all(float((other @ texts[best]).mean()) < scores[best] for other in others)
    margin = float(scores[best] - scores[order[1]]) if len(senses) > 1 else 0.0
    ranked = tuple((senses[i].label, round(float(scores[i]), 5)) for i in order)
    is_far = best == 0 or float(leads[:, 0].mean()) >= LEAST_BEFORE_COMMONEST
    is_sure = is_clear and is_own and is_far
    return SenseChoice(senses[best if is_sure else 0], round(margin, 5), not is_sure, False, ranked)


def _is_clear(differences: Array) -> bool:
    """Says whether one sense is nearer than another, given the difference at each image."""
    if len(differences) < 2:
        return False  # it is not known how other images scatter
    error = float(differences.std(ddof=1)) / len(differences) ** 0.5
    return float(differences.mean()) >= max(LEAST_MARGIN, _errors(len(differences)) * error)


def _errors(count: int) -> float:
    """Returns as many standard errors of `count` images as are as rare as LEAST_ERRORS of many.

    Student's t by its expansion, within 1 % from 4 images on: 2.9 for 5, 2.1 for 32; it is less for
    fewer (10.4 instead of 14.0 for 2).
    """
    z, free = LEAST_ERRORS, count - 1
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / free + second / free**2 + third / free**3


def parse_pins(text: str, class_names: Sequence[str]) -> dict[str, str]:
    """Returns senses pinned by hand, by class: "crane=crane.n.05;mailbag=a bag for letters".

    Raises InvalidArgument for another form, or a class that is not there.
    """
    pins: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, equals, sense = (word.strip() for word in part.partition("="))
        if not equals or not sense or name not in class_names:
            known = ", ".join(class_names[:20])
            raise InvalidArgument(
                f"{part!r} pins no sense of a class; write CLASS=SENSE, several separated by ';', "
                f"with a sense such as crane.n.05 or a meaning in words; the classes are {known}",
                field="augmentation.parameters.senses",
                reason="BAD_SENSES",
            )
        pins[name] = sense
    return pins


def pinned(sense: str, known: Sequence[Sense]) -> SenseChoice:
    """Returns the choice of a sense pinned by its name, or by a meaning in words.

    A name that is not among the known senses is left to the prompter, which knows all of WordNet.
    """
    for one in known:
        if sense == one.label:
            return SenseChoice(one, pinned=True)
    is_name = re.fullmatch(r"\S+\.n\.\d{1,3}", sense) is not None
    return SenseChoice(Sense(sense, "") if is_name else Sense("", sense), pinned=True)


def described_choices(choices: Mapping[str, SenseChoice]) -> list[str]:
    """Returns what the classes were taken to mean, for people: the unsure ones first."""
    ordered = sorted(choices.items(), key=lambda pair: not pair[1].ambiguous)
    lines = [f"meaning of {name}: {choice.described}" for name, choice in ordered[:_DESCRIBED]]
    rest = ordered[_DESCRIBED:]
    if rest:
        unsure = sum(choice.ambiguous for _, choice in rest)
        lines.append(f"and the meanings of {len(rest)} other classes, {unsure} of them unsure")
    return lines


def plain_of(choice: SenseChoice) -> Mapping[str, Plain]:
    """Returns the choice as a step's result."""
    return {**vars(choice), "sense": vars(choice.sense), "scores": [list(s) for s in choice.scores]}


def choice_of(values: Mapping[str, Any]) -> SenseChoice:
    """Returns the choice that a step recorded."""
    scores = tuple((str(label), float(score)) for label, score in values["scores"])
    return SenseChoice(**{**values, "sense": Sense(**values["sense"]), "scores": scores})
