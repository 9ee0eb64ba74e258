"""What training made for methods to generate with."""

from dataclasses import dataclass
from enum import StrEnum


class ArtefactKind(StrEnum):
    """What an artefact is; the names of the proto's ArtefactKind, where they are explained."""

    UNET = "UNET"
    TOKENS = "TOKENS"
    CONDITIONING = "CONDITIONING"
    ADAPTER = "ADAPTER"

    @property
    def is_of_text(self) -> bool:
        """Says whether it belongs to a text; others change the model."""
        return self in (ArtefactKind.TOKENS, ArtefactKind.CONDITIONING)


@dataclass(frozen=True, order=True)
class Artefact:
    """A file in the object store, its SHA-256 in hexadecimal, and its kind."""

    uri: str
    sha256: str
    kind: ArtefactKind


@dataclass(frozen=True)
class Tuning:
    """What is learned before a method drafts: `id` is the trainer's name of it.

    With `per_class` it is learned for each class to augment, otherwise once for all of them.
    """

    id: str
    per_class: bool = True
