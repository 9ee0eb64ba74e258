"""Which files are one sample: an image, and its label, caption and notes beside it.

The rule is the same for archives and for loose files:

1. Files with one key (`datafiles.suffixes.split_name`) are one sample: 00000.jpg, 00000.cls and
   00000.seg.png; v1.0_0.png and v1.0_0.json.
2. A file whose key is longer by a dot (000.left.png, photo.jpg.json) joins the sample of the
   shorter key (000.json, photo.jpg) only if that lacks what it has: an image, or a label or notes.
   So v1.0_0.png is never taken for a part of v1.png, which is an image itself.
3. One image of a sample is its photograph: the one with a plain suffix, in the order of
   `suffixes.IMAGES`; else the one with a word of `suffixes.PHOTOGRAPHS` before it; else the only
   other. Masks and the like never are. What is not taken is listed, and where nothing says which,
   all are. Images with nothing beside them are samples of their own, whatever their suffixes.
"""

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from datafiles.rejected import RejectedFile
from datafiles.suffixes import IMAGES, PHOTOGRAPHS, Kind, is_beside, kind_of, split_name

T = TypeVar("T")
# Keys without an image that may belong to the sample that comes next: 000.fine.cls, 000.jpg.
_NEAR = 16
# What was taken for such a part of the sample before it, in case its image comes after all.
_ASIDE = 4096


@dataclass(frozen=True)
class Chosen:
    """What the user named: the column of a table, the field of the JSON, or the suffix of files
    ("rgb.png", "fine.cls") that holds the image or the label; "" leaves it to the rules.
    """

    image: str = ""
    label: str = ""

    @property
    def image_suffix(self) -> str:
        """The suffix of photographs, in lower case; "" if none is named."""
        return _suffix(self.image)

    @property
    def label_suffix(self) -> str:
        """The suffix of labels, in lower case; "" if none is named."""
        return _suffix(self.label)


def _suffix(text: str) -> str:
    suffix = text.lower().removeprefix(".")
    return suffix if kind_of(suffix) != "other" else ""


# Nothing is chosen.
BY_THE_RULES = Chosen()


@dataclass(frozen=True)
class Member(Generic[T]):
    """A file: its path, and where its bytes are."""

    name: str
    where: T


@dataclass
class Sample(Generic[T]):
    """The files of one key: the photograph, and the others by kind, the plain suffixes first."""

    key: str
    image: Member[T] | None = None
    files: dict[Kind, list[tuple[str, Member[T]]]] = field(default_factory=dict)
    left_out: list[RejectedFile] = field(default_factory=list)

    def of_kind(self, *kinds: Kind) -> list[Member[T]]:
        """Returns the files of some kinds."""
        return [member for kind in kinds for _, member in self.files.get(kind, ())]

    @property
    def name(self) -> str:
        """A name for people: that of a file."""
        first = self.of_kind("image", "label", "notes", "caption", "other")[:1]
        return first[0].name if first else self.key

    def add(self, suffix: str, member: Member[T]) -> None:
        """Adds a file; its suffix comes from `split_name`."""
        found = self.files.setdefault(kind_of(suffix), [])
        found.append((suffix, member))
        found.sort(key=lambda one: one[0].count("."))

    def has(self, *kinds: Kind) -> bool:
        """Says whether it has a file of one of these kinds; masks and the like do not count."""
        files = (one for kind in kinds for one in self.files.get(kind, ()))
        return any(kind_of(suffix) != "image" or not is_beside(suffix) for suffix, _ in files)

    def why_without_image(self) -> RejectedFile:
        """Returns why a sample without an image is left out."""
        if self.has("label", "notes", "caption"):
            return RejectedFile(self.name, "NO_IMAGE", f"{self.name} has no image beside it")
        return RejectedFile(self.name, "UNKNOWN_SUFFIX", f"{self.name} is not an image by its name")


def samples(
    members: Iterable[Member[T]], chosen: Chosen = BY_THE_RULES, *, most_held: int = sys.maxsize
) -> Iterator[Sample[T]]:
    """Yields the samples of a stream of files, also those without an image.

    A sample whose files follow each other comes at once; only what lacks an image or a label is
    held until the end, in case the rest comes later. Of sorted names, where it does not, at most
    `most_held` samples need to be held.
    """
    suffixes = tuple(one for one in (chosen.image_suffix, chosen.label_suffix) if one)
    held: dict[str, Sample[T]] = {}
    aside: dict[str, Sample[T]] = {}
    near: deque[str] = deque(maxlen=_NEAR)
    last, parked, current = "", "", Sample[T]("")

    def set_aside(part: Sample[T]) -> None:
        aside[part.key] = part
        if len(aside) > _ASIDE:
            aside.pop(next(iter(aside)))

    def close(following: str = "") -> Iterator[Sample[T]]:
        nonlocal last, parked
        is_complete = current.has("image") and current.has("label", "notes")
        if is_complete and _extends(following, current.key):  # 0.fine.cls before 0.json
            held[current.key], parked = current, current.key
        elif is_complete:
            last = current.key
            for key in list(near):
                if key in held and _extends(key, last) and not held[key].files.get("image"):
                    set_aside(held.pop(key))
            yield from _settled(current, chosen)
        elif current.files and (current.files.get("image") or not _extends(current.key, last)):
            held[current.key] = current
            near.append(current.key)
            if len(held) > most_held:
                for sample in _joined(_first_half(held)):
                    yield from _settled(sample, chosen)
        elif current.files:
            set_aside(current)

    for member in members:
        key, suffix = split_name(member.name, suffixes)
        if key != current.key or not current.files:
            yield from close(key)
            if parked in held and key != parked and not _extends(key, parked):
                current = held.pop(parked)
                yield from close(key)
            known = held if key in held else aside
            current = known.pop(key) if key in known else Sample(key)
        current.add(suffix, member)
    yield from close()
    for sample in _joined(held):
        yield from _settled(sample, chosen)


def _extends(key: str, shorter: str) -> bool:
    return bool(shorter) and key.startswith(f"{shorter}.")


def _first_half(held: dict[str, Sample[T]]) -> dict[str, Sample[T]]:
    """Takes the first half, and what might belong to its last one."""
    keys = list(held)
    end = len(keys) // 2
    while end < len(keys) and _root(keys[end]) == _root(keys[end - 1]):
        end += 1
    return {key: held.pop(key) for key in keys[:end]}


def _root(key: str) -> str:
    folder, slash, base = key.rpartition("/")
    return folder + slash + base.partition(".")[0]


def _joined(held: dict[str, Sample[T]]) -> list[Sample[T]]:
    """Returns the samples, those with longer keys joined to the shorter ones that lack them."""
    rest: dict[str, Sample[T]] = {}
    images: dict[str, list[Sample[T]]] = {}
    for key, sample in held.items():
        other = next((held[one] for one in _shorter(key) if one in held), None)
        if other is None:
            rest[key] = sample
        elif sample.has("image") and not other.has("image") and other.has("label", "notes"):
            images.setdefault(other.key, []).append(sample)
        elif sample.files.get("image") or not other.has("image"):
            rest[key] = sample
        elif not other.has("label", "notes") or sample.has("label", "notes"):
            _move(sample, other)
    for key, found in images.items():
        for sample in found:
            _move(sample, held[key])
    return list(rest.values())


def _shorter(key: str) -> Iterator[str]:
    """Yields what is left of a key before each of its dots, the shortest first."""
    folder, slash, base = key.rpartition("/")
    parts = base.split(".")
    for count in range(1, len(parts)):
        yield folder + slash + ".".join(parts[:count])


def _move(sample: Sample[T], other: Sample[T]) -> None:
    word = sample.key.removeprefix(f"{other.key}.")
    for found in sample.files.values():
        for suffix, member in found:
            other.add(f"{word}.{suffix}", member)


def _settled(sample: Sample[T], chosen: Chosen) -> Iterator[Sample[T]]:
    """Yields the sample with its photograph told from the other images, or one for each image."""
    images = sample.files.get("image", [])
    photographs = [one for one in images if one[0] == chosen.image_suffix] or [
        one for one in images if not is_beside(one[0])
    ]
    plain = [one for one in photographs if "." not in one[0]]
    if len(plain) > 1 and not sample.has("label", "notes", "caption"):
        for one in plain:
            yield Sample(sample.key, one[1], {"image": [one]})
        if rest := [one for one in images if one not in plain]:
            beside = Sample(sample.key, files={"image": rest})
            _leave_out(beside, rest, plain[0][1])
            yield beside
        return
    ranks = sorted(_rank(suffix) for suffix, _ in photographs)
    if photographs and (len(photographs) == 1 or ranks[0] < len(IMAGES) + len(PHOTOGRAPHS)):
        sample.image = min(photographs, key=lambda one: _rank(one[0]))[1]
    _leave_out(sample, images, sample.image)
    yield sample


def _leave_out(
    sample: Sample[T], images: list[tuple[str, Member[T]]], photograph: Member[T] | None
) -> None:
    for suffix, member in images:
        if member is photograph:
            continue
        if is_beside(suffix):
            reason, what = "NOT_A_PHOTOGRAPH", f"is not a photograph by its name ({suffix})"
        elif photograph is None:
            reason, what = "AMBIGUOUS_IMAGE", "is one of several images that may be the photograph"
        else:
            reason, what = "SECOND_IMAGE", f"is a further image beside {photograph.name}"
        remedy = "another can be named as the image column, for example by its suffix"
        message = f"{member.name} {what}; {remedy} {suffix!r}"
        sample.left_out.append(RejectedFile(member.name, reason, message))


def _rank(suffix: str) -> int:
    word, dot, last = suffix.rpartition(".")
    if not dot:
        return IMAGES.index(last)
    known = word in PHOTOGRAPHS
    return len(IMAGES) + (PHOTOGRAPHS.index(word) if known else len(PHOTOGRAPHS))
