"""What the engine makes, as values."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from diffusion.artefacts.facts import Artefact
from diffusion.card import ModelCard
from diffusion.embeddings import Text
from generator.engine.conditions.base import Condition
from generator.engine.conditions.text import TextAlone


def weights_digest(card: ModelCard, artefacts: Sequence[Artefact]) -> str:
    """Returns the digest of a model's weights with artefacts in them, in hexadecimal."""
    if not artefacts:
        return card.digest
    digests = " ".join(sorted(artefact.sha256 for artefact in artefacts))
    return hashlib.sha256(f"{card.digest} {digests}".encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class Item:
    """One image to make. Every random draw depends on the item alone.

    A `guidance_scale` of at most 1 means no guidance: `negative` is then not read. Deterministic
    items run in calls of one fixed shape and are bit-identical whatever runs beside them.
    `artefacts` change the model, at most one of UNET and one of ADAPTER.
    """

    model: str
    seed: int
    steps: int
    guidance_scale: float
    text: Text = ""
    negative: Text = ""
    condition: Condition = field(default_factory=TextAlone)
    deterministic: bool = False
    artefacts: tuple[Artefact, ...] = ()

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
