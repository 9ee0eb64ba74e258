"""Finished images in the object store, under a digest of everything that determines them."""

import hashlib
import io
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diffusion.card import ModelCard
from diffusion.embeddings import LearnedText, Text, WordedText
from diffusion.families.base import TEXT
from diffusion.mixing import CaptionMix
from generator.engine.conditions.embeddings import array_identity
from generator.engine.items import Item, weights_digest
from imaging.encode import encode_png
from servicekit.errors import NotFound
from servicekit.storage import ObjectStore

# Part of every key; a change of the engine that changes its images changes this, or the version of
# the steps where only some models' images change.
_VERSION = 1


@dataclass(frozen=True)
class Stored:
    """An image in the store. `sha256` is that of the PNG, in hexadecimal."""

    key: str
    sha256: str
    width: int
    height: int
    is_cached: bool


def key_of(item: Item, card: ModelCard, signature: str, prefix: str) -> str:
    """Returns the object key of an item: PREFIX/ab/DIGEST.png.

    What is not read, such as the negative text without guidance, does not count.
    """
    guidance = item.guidance_scale if item.is_guided else 1.0
    determining = {
        "version": _VERSION,
        "model": weights_digest(card, item.artefacts),
        "size": [card.width, card.height],
        "engine": signature,
        "deterministic": item.deterministic,
        "seed": item.seed,
        "steps": item.steps,
        "guidance": float(np.float32(guidance)),
        "text": _text(item.text),
        "negative": _text(item.negative) if item.is_guided else None,
        "condition": item.condition.identity(is_guided=item.is_guided),
    }
    if card.steps_version > 1:
        determining["steps_version"] = card.steps_version
    canonical = json.dumps(determining, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    return f"{prefix}/{digest[:2]}/{digest}.png"


def _text(text: Text) -> dict[str, Any]:
    if isinstance(text, str):
        return {"prompt": text}
    if isinstance(text, CaptionMix):
        return text.identity()
    if isinstance(text, WordedText):
        return {**_text(text.text), "words": sorted(word.sha256 for word in text.words)}
    if isinstance(text, LearnedText):
        return {"learned": text.sha256}
    found = {name: array_identity(values) for name, values in text.items()}
    return found.pop(TEXT) | found


class Gallery:
    """Keeps finished images. Blocking; call it from a thread."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def find(self, key: str) -> Stored | None:
        """Returns the image if it was made before."""
        try:
            data = self._store.get(key)
        except NotFound:
            return None
        if not self._store.renew(key):  # It was discarded just now.
            return None
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
        return Stored(key, hashlib.sha256(data).hexdigest(), width, height, is_cached=True)

    def keep(self, key: str, pixels: NDArray[np.uint8]) -> Stored:
        """Stores pixels [height, width, 3] as PNG.

        If another call stored the key meanwhile, its image stands and is the answer.
        """
        data = encode_png(pixels)
        if not self._store.put(key, data):
            found = self.find(key)
            if found is not None:
                return found
        height, width = pixels.shape[:2]
        return Stored(key, hashlib.sha256(data).hexdigest(), width, height, is_cached=False)
