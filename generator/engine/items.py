"""What the engine makes, as values."""

import hashlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from diffusion.card import Card
from diffusion.embeddings import Text
from generator.engine.conditions.base import Condition
from generator.engine.conditions.text import TextAlone


@dataclass(frozen=True)
class Variant:
    """Fine-tuned weights: a safetensors object at `uri`, its SHA-256 in hexadecimal.

    Its tensors replace those of the same name in the model's U-Net; the others stay.
    """

    uri: str
    sha256: str


def weights_digest(card: Card, variant: Variant | None) -> str:
    """Returns the digest of a model's weights with those of a variant, in hexadecimal."""
    if variant is None:
        return card.digest
    return hashlib.sha256(f"{card.digest} {variant.sha256}".encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class Item:
    """One image to make. Every random draw depends on the item alone.

    A `guidance_scale` of at most 1 means no guidance: `negative` is then not read. Deterministic
    items run in calls of one fixed shape and are bit-identical whatever runs beside them.
    """

    model: str
    seed: int
    steps: int
    guidance_scale: float
    text: Text = ""
    negative: Text = ""
    condition: Condition = field(default_factory=TextAlone)
    deterministic: bool = False
    variant: Variant | None = None

    @property
    def is_guided(self) -> bool:
        """Says whether the unconditional row is computed as well."""
        return self.guidance_scale > 1


@dataclass(frozen=True, eq=False)
class Made:
    """A finished image: uint8 pixels [height, width, 3] and where its time went."""

    pixels: NDArray[np.uint8]
    queue_seconds: float
    compute_seconds: float
