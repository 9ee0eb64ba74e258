"""What the files beside an image say of it: its class, its caption and whatever else."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from datafiles.labels import Label, agreed, label_of, label_of_fields
from datafiles.rejected import RejectedFile
from datafiles.samples import BY_THE_RULES, Chosen, Member, Sample
from datafiles.suffixes import Kind, is_beside
from datafiles.texts import Unreadable, read_json, read_text

T = TypeVar("T")
R = TypeVar("R")

# Before .json: of other files beside a photograph, such as 000.seg.json, the .json is not about it.
_ABOUT_LABELS = ("label", "labels", "annotation", "annotations", "target", "gt")


@dataclass(frozen=True)
class Facts:
    """What is known about an image. `problems` are files beside it that cannot be used."""

    label: Label
    caption: str
    notes: dict[str, Any]
    problems: tuple[RejectedFile, ...]


def facts_of(
    sample: Sample[T], read: Callable[[Member[T]], bytes], chosen: Chosen = BY_THE_RULES
) -> Facts:
    """Returns what the files of a sample say; `read` returns a file's bytes or raises Unreadable.

    The class comes from the .cls and from class_name and label of the .json, which must agree, or
    from the field or suffix that `chosen` names alone. Of files of a kind those with the shortest
    suffix count (.cls hides .fine.cls). Whatever is wrong with a file is among the problems.
    """
    return _Reading(sample, read, chosen).facts()


@dataclass
class _Reading(Generic[T]):
    """The reading of one sample."""

    sample: Sample[T]
    read: Callable[[Member[T]], bytes]
    chosen: Chosen
    problems: list[RejectedFile] = field(default_factory=list)

    def facts(self) -> Facts:
        """Reads all of it."""
        notes: dict[str, Any] = {}
        labels: list[Label] = []
        for member in self._files("notes"):
            found = self._try(member, read_json) or {}
            notes |= found
            labels.append(self._attempt(member.name, lambda f=found: self._in(f)) or Label())  # type: ignore[misc]
        labels.extend(self._try(member, label_of) or Label() for member in self._label_files())
        captions = [self._try(member, read_text) for member in self._files("caption")[:1]]
        name = self.sample.image.name if self.sample.image else self.sample.name
        label = self._attempt(name, lambda: agreed(labels)) or Label()
        caption = captions[0] if captions else notes.get("caption")
        caption = caption.strip() if isinstance(caption, str) else ""
        return Facts(label, caption, notes, tuple(self.problems))

    def _in(self, notes: dict[str, Any]) -> Label:
        """Returns the label in JSON, if it is looked for there."""
        if self.chosen.label_suffix:
            return Label()
        if self.chosen.label:
            return label_of(notes.get(self.chosen.label))
        return label_of_fields(notes)

    def _label_files(self) -> list[Member[T]]:
        if suffix := self.chosen.label_suffix:
            every = [one for files in self.sample.files.values() for one in files]
            return [member for found, member in every if found == suffix]
        return [] if self.chosen.label else self._files("label")

    def _files(self, kind: Kind) -> list[Member[T]]:
        files = [
            (suffix, member)
            for suffix, member in self.sample.files.get(kind, ())
            if kind != "notes" or not is_beside(suffix) or suffix.split(".")[-2] in _ABOUT_LABELS
        ]
        dots = min((suffix.count(".") for suffix, _ in files), default=0)
        return [member for suffix, member in files if suffix.count(".") == dots]

    def _try(self, member: Member[T], parse: Callable[[bytes], R]) -> R | None:
        return self._attempt(member.name, lambda: parse(self.read(member)))

    def _attempt(self, name: str, work: Callable[[], R]) -> R | None:
        try:
            return work()
        except Unreadable as error:
            self.problems.append(RejectedFile(name, error.reason, f"{name}: {error.message}"))
            return None
