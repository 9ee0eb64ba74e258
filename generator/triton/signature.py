"""The one signature of the Triton model: an item as arrays, and back.

Every input is required and has a leading batch dimension of 1. An optional one would keep requests
with and without it from sharing a batch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diffusion.embeddings import FloatArray, Text
from generator.engine.items import Concat, Condition, Item, Start, Unclip, Variant

MODEL = "diffusion"
Arrays = Mapping[str, NDArray[Any]]

_NO_IMAGE: NDArray[np.uint8] = np.zeros((1, 1, 3), dtype=np.uint8)
_NO_EMBEDDING: FloatArray = np.zeros(1, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Request:
    """An item and how it is wanted.

    `expected` says which weights and engine the caller counts on, see `expectation`. An urgent item
    does not wait in the engine's line; it is for probes.
    """

    item: Item
    expected: str
    is_urgent: bool = False


def to_arrays(request: Request) -> dict[str, NDArray[Any]]:
    """Returns the inputs of an item whose texts and image embedding are encoded already."""
    item = request.item
    condition = item.condition
    image = condition.image if isinstance(condition, Start | Concat) else None
    embedding = condition.source if isinstance(condition, Unclip) else None
    variant = f"{item.variant.sha256} {item.variant.uri}" if item.variant else ""
    arrays: dict[str, NDArray[Any]] = {
        "MODEL": _words(item.model),
        "EXPECTED": _words(request.expected),
        "URGENT": np.array([request.is_urgent]),
        "VARIANT": _words(variant),
        "SEED": np.array([item.seed], np.uint64),
        "STEPS": np.array([item.steps], np.int32),
        "GUIDANCE": np.array([item.guidance_scale], np.float64),
        "DETERMINISTIC": np.array([item.deterministic]),
        "TEXT": _encoded(item.text),
        "NEGATIVE": _encoded(item.negative),
        "IMAGE": _NO_IMAGE if image is None else np.asarray(image),
        "HAS_IMAGE": np.array([image is not None]),
        "STRENGTH": _number(condition.strength if isinstance(condition, Start) else 0.0),
        "IMAGE_GUIDANCE": _number(
            condition.image_guidance_scale if isinstance(condition, Concat) else 1.0
        ),
        "IMAGE_EMBEDDING": _NO_EMBEDDING if embedding is None else _encoded(embedding),
        "HAS_EMBEDDING": np.array([embedding is not None]),
        "NOISE_LEVEL": np.array(
            [condition.noise_level if isinstance(condition, Unclip) else 0], np.int32
        ),
    }
    return {name: values[None] for name, values in arrays.items()}


def to_request(arrays: Arrays) -> Request:
    """Returns the item and how it is wanted. Raises ValueError for more than one row."""
    if any(len(values) != 1 for values in arrays.values()):
        raise ValueError("a request is one image: send tensors with a batch dimension of 1")
    one = {name: values[0] for name, values in arrays.items()}
    digest, _, uri = one["VARIANT"].item().decode().partition(" ")
    item = Item(
        model=one["MODEL"].item().decode(),
        seed=int(one["SEED"].item()),
        steps=int(one["STEPS"].item()),
        guidance_scale=float(one["GUIDANCE"].item()),
        # Copies: the memory of a request is taken back before its image is finished.
        text=one["TEXT"].copy(),
        negative=one["NEGATIVE"].copy(),
        condition=_condition(one),
        deterministic=bool(one["DETERMINISTIC"].item()),
        variant=Variant(uri, digest) if digest else None,
    )
    return Request(item, one["EXPECTED"].item().decode(), bool(one["URGENT"].item()))


def expectation(digest: str, engine: str) -> str:
    """Returns what decides over an image's bits besides its item, in a form to compare."""
    return f"model {digest} on the engine {engine}"


def _condition(one: Arrays) -> Condition | None:
    if one["HAS_EMBEDDING"].item():
        return Unclip(one["IMAGE_EMBEDDING"].copy(), int(one["NOISE_LEVEL"].item()))
    if not one["HAS_IMAGE"].item():
        return None
    image = Image.fromarray(one["IMAGE"].copy())
    strength = float(one["STRENGTH"].item())
    # An image to start from always has a strength.
    return Start(image, strength) if strength else Concat(image, one["IMAGE_GUIDANCE"].item())


def _words(text: str) -> NDArray[np.object_]:
    return np.array([text.encode()], dtype=np.object_)


def _number(value: float) -> NDArray[np.float64]:
    return np.array([value], np.float64)


def _encoded(values: Text | Image.Image) -> FloatArray:
    if not isinstance(values, np.ndarray):
        raise TypeError(f"{type(values).__name__} must be encoded before it is sent")
    return values
