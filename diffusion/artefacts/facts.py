"""What an artefact is, what it was made of, and how it is named."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """The kinds of artefacts; those of the enum ArtefactKind, in lower case.

    UNET          tensors of a U-Net that replace those of the same name, or a LoRA of them
    TOKENS        a pseudo-word: vectors of the text encoders' embedding tables
    CONDITIONING  what stands for a text, the output of the text encoders
    ADAPTER       an IP-Adapter, for a model that has none
    """

    UNET = "unet"
    TOKENS = "tokens"
    CONDITIONING = "conditioning"
    ADAPTER = "adapter"


@dataclass(frozen=True)
class Artefact:
    """A file in the object store: its URI, its SHA-256 in hexadecimal, and its kind."""

    uri: str
    sha256: str
    kind: Kind


@dataclass(frozen=True)
class Facts:
    """What the header of an artefact says of it.

    `base` is the digest of the model that it was made for (ModelCard.digest). `method` learned it,
    `class_name` is the class that it stands for, "" for a whole data set. `data` and `recipe` are
    the digests of what it was learned from and of how. `word` is the pseudo-word of TOKENS, which
    is written in texts as it stands here, and "" otherwise.

    Only `kind` is always known: a file that another program wrote, such as a LoRA of diffusers,
    has no facts, and `base` is then "".
    """

    kind: Kind
    base: str = ""
    method: str = ""
    class_name: str = ""
    data: str = ""
    recipe: str = ""
    word: str = ""
