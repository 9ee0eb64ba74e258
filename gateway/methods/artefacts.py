"""What training made for methods to generate with."""

from dataclasses import dataclass
from enum import StrEnum

# What stands for the class in the templates of methods that tune.
CLASS = "{}"


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


@dataclass(frozen=True, order=True)
class Learned(Artefact):
    """An artefact of a tuning. `word` is the pseudo-word of TOKENS.

    `image_count` are the images that it was learned of.
    """

    word: str = ""
    image_count: int = 0


@dataclass(frozen=True)
class Tuning:
    """What is learned before a method drafts: `id` is the trainer's name of it.

    With `per_class` it is learned for each class to augment, otherwise once for all of them. The
    prompts of a method that tunes are templates, with CLASS for the class.
    """

    id: str
    per_class: bool = True
