"""What the engine makes, as values."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from diffusion.card import Card
from diffusion.embeddings import FloatArray, Text


@dataclass(frozen=True, eq=False)
class Start:
    """Begins at a noised real image instead of pure noise.

    `strength` is the share of the schedule that is run, above 0 and at most 1. Without text and
    with a guidance scale of at most 1 this is Boomerang (BURG, section 3.2).
    """

    image: Image
    strength: float


@dataclass(frozen=True, eq=False)
class Concat:
    """Concatenates the latent of a real image with the noisy latent (InstructPix2Pix, MVC 3.3).

    An `image_guidance_scale` above 1 also pushes towards the image, for a third U-Net row.
    """

    image: Image
    image_guidance_scale: float = 1.0


@dataclass(frozen=True, eq=False)
class Unclip:
    """Conditions on an image embedding [d] (AUGCOND), or on an image that is embedded first.

    `noise_level` is in steps of the model's own noising schedule, 0 to 999.
    """

    source: FloatArray | Image
    noise_level: int = 0


Condition = Start | Concat | Unclip


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
    condition: Condition | None = None
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
