"""How a class is called in texts: a name that a model can read, made of the class's own name.

"PolarBear", "polar_bear" and "001.polar-bear" are all called "polar bear". A name that says nothing
to a model, such as "3" or an unknown id, stays as it is and is opaque.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from datafiles.names import clean_name

# Longest name in characters: longer ones are cut between words.
LONGEST = 100

_SYNSET = re.compile(r"(n\d{8})(?:[\s._-]+(.+))?")
# "001.ak47" and "10_dog" are numbered; "3-toed sloth" and "2 door car" only where others are, too.
_NUMBERED = re.compile(r"\(?\d{1,6}\)?(?:[._)\s-]*[._)][._\s-]*)(?=.*[^\W\d_].*\w)(.+)")
_MAYBE_NUMBERED = re.compile(r"(\d{1,6})(?:\s*-\s*|\s+)(?=.*[^\W\d_].*\w)(.+)")
_ESCAPED = re.compile(r"%[0-9A-Fa-f]{2}")
_HUMPS = re.compile(r"[A-Z]+(?![a-z])\d*|[A-Z][a-z]+\d*|[a-z]+\d*|\d+")
# MacBook, McDonald and DeLorean are words.
_ONE_WORD = ("Mac", "Mc", "De", "La", "Le", "Di", "Du", "Van", "Von", "O")
_COUNTED = r"class|cls|label|lbl|category|id|cluster|group|type|kind|target|object|item|folder"
_SAYS_NOTHING = (
    re.compile(r"[\W\d_]*"),  # no letter
    re.compile(r"[a-z] ?\d+"),  # c17, but not F-16
    re.compile(rf"(?:{_COUNTED}|synset|wnid|n)\W*\d+"),  # class 3
    re.compile(r"[0-9a-f]{8}(?:\W?[0-9a-f]{4}){3}\W?[0-9a-f]{12}"),  # a UUID
    re.compile(r"(?:0x)?(?=.*\d)(?=.*[a-f])[0-9a-f]{6,}"),
    re.compile(r"(?:[a-z]+\d+){3,}[a-z]*|(?:\d+[a-z]+){3,}\d*"),  # x7gh2kq9
    re.compile(
        r"(?:unknown|unlabell?ed|undefined|unspecified|other|others|misc|miscellaneous|none|null"
        r"|nan|n/?a|nil|rest|default|todo|test|tmp|temp)"
    ),
)


@dataclass(frozen=True)
class Synset:
    """What WordNet knows of an ImageNet id: its names, and what it is a kind of."""

    lemmas: tuple[str, ...]
    hypernym: str = ""


@dataclass(frozen=True)
class DisplayName:
    """What a class is called: `is_opaque` if that says nothing, `is_cut` if it was too long."""

    text: str
    is_opaque: bool = False
    is_cut: bool = False


def synset_of(class_name: str) -> str:
    """Returns the ImageNet id that a class name is or begins with, "n01440764"; "" without one."""
    match = _SYNSET.fullmatch(class_name.strip())
    return match[1] if match else ""


def display_names(
    class_names: Sequence[str],
    synsets: Mapping[str, Synset] | None = None,
    given: Mapping[str, str] | None = None,
) -> dict[str, DisplayName]:
    """Returns what each class is called, by class name.

    `synsets` are by ImageNet id; `given` are names that people chose, by class.
    """
    lemmas, given = _told_apart(synsets or {}), given or {}
    numbered = sum(_MAYBE_NUMBERED.fullmatch(name.strip()) is not None for name in class_names)
    are_numbered = numbered >= 2 and 2 * numbered > len(class_names)
    return {
        name: _named(clean_name(given[name]))
        if given.get(name, "").strip()
        else _made(name, lemmas, are_numbered)
        for name in class_names
    }


def readable(class_name: str) -> str:
    """Returns what a class is called where neither synsets nor the other classes are known."""
    return display_names([class_name])[class_name].text


def warnings_of(names: Mapping[str, DisplayName]) -> list[str]:
    """Returns what people should know before anything is made of these names."""
    warnings = []
    if opaque := [name for name, made in names.items() if made.is_opaque]:
        warnings.append(
            f"{len(opaque)} of {len(names)} class names mean nothing to a model: {_some(opaque)}; "
            f"give --names FILE with a line for each, such as '{opaque[0]} = fire truck'"
        )
    if cut := [name for name, made in names.items() if made.is_cut]:
        warnings.append(
            f"names longer than {LONGEST} characters were cut for prompts: {_some(cut)}; "
            "--names FILE gives shorter ones"
        )
    classes: dict[str, list[str]] = {}
    for name, made in names.items():
        classes.setdefault(made.text.casefold(), []).append(name)
    warnings += [
        f"the classes {_some(same)} are all called {names[same[0]].text!r} in prompts, so that "
        "images of one may show another; --names FILE tells them apart"
        for same in classes.values()
        if len(same) > 1
    ]
    return warnings


def words_within(text: str, length: int = LONGEST) -> str:
    """Returns as many whole words of a text as have at most `length` characters; at least a part
    of the first."""
    if len(text) <= length:
        return text
    head = text[: length + 1].rpartition(" ")[0] or text[:length]
    return head.rstrip(" ,;:-")


def _told_apart(synsets: Mapping[str, Synset]) -> dict[str, str]:
    """Returns the first lemma of each synset; of those that share it all, or what kind it is.

    ImageNet has two "crane"s and two "maillot"s.
    """
    first = Counter(synset.lemmas[0] for synset in synsets.values())
    every = Counter(synset.lemmas for synset in synsets.values())
    names = {}
    for key, synset in synsets.items():
        name = synset.lemmas[0]
        if first[name] > 1 and len(synset.lemmas) > 1 and every[synset.lemmas] == 1:
            name = ", ".join(synset.lemmas)
        elif first[name] > 1 and synset.hypernym:
            name = f"{name} ({synset.hypernym})"
        names[key] = name
    return names


def _made(class_name: str, lemmas: Mapping[str, str], are_numbered: bool) -> DisplayName:
    name = clean_name(class_name)
    synset, rest = synset_of(name), ""
    if synset:
        rest = _SYNSET.fullmatch(name)[2] or ""  # type: ignore[index]
        if not rest:
            return _named(lemmas.get(synset, synset), is_opaque=synset not in lemmas)
    text = _spoken(rest or _without_number(name, are_numbered))
    return _named(text or name, is_opaque=_is_opaque(text))


def _named(text: str, *, is_opaque: bool = False) -> DisplayName:
    shown = words_within(text)
    return DisplayName(shown, is_opaque, shown != text)


def _without_number(name: str, are_numbered: bool) -> str:
    if match := _NUMBERED.fullmatch(name):
        return match[1]
    match = _MAYBE_NUMBERED.fullmatch(name)
    if match and (are_numbered or match[1].startswith("0")):
        return match[2]
    return name


def _spoken(name: str) -> str:
    """Returns a name as people say it: words with spaces between them."""
    if _ESCAPED.search(name):
        name = unquote(name)
    words = re.sub(r"[_\s]+", " ", name).strip(" -.+~#")
    if " " not in words:
        words = _apart(words)
    return " ".join(words.split())


def _apart(word: str) -> str:
    """Returns the words of a name without spaces: "polar-bear", "polar.bear", "PolarBear".

    A hyphen that belongs to a word stays: "T-shirt", "merry-go-round", "F-16".
    """
    for mark in "-.+":
        parts = word.split(mark)
        if len(parts) > 1 and all(part.isalpha() and len(part) > 2 for part in parts):
            return " ".join(parts)
    humps = _HUMPS.findall(word)
    is_camel = len(humps) > 1 and "".join(humps) == word and not word.isupper()
    if not is_camel or humps[0] in _ONE_WORD or not any(len(h) > 2 for h in humps):
        return word
    if any(len(hump) == 1 or hump.isdigit() or hump[0].islower() for hump in humps[1:]):
        return word
    if len(humps[0]) == 1 and humps[0].islower():  # iPhone
        return word
    return " ".join(h if h.isupper() and len(h) > 1 else h.lower() for h in humps)


def _is_opaque(text: str) -> bool:
    if len(text) == 1 and text.lower() == text.upper() and text.isalpha():
        return False  # One sign of a script without case is a word: 猫.
    return len(text) < 2 or any(one.fullmatch(text.lower()) for one in _SAYS_NOTHING)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(repr(name) for name in names[:8]) + more
