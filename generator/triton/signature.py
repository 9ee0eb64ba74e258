"""The one signature of the Triton model: an item as bytes, and back.

The bytes are a safetensors file: what is words and numbers of the item as JSON, and every array by
its name. So an item may hold whatever its model and its condition need, and requests of all kinds
share a batch.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from diffusion.artefacts.facts import Artefact, Kind
from diffusion.embeddings import LearnedText, Text, TextArrays, WordedText
from diffusion.mixing import CaptionMix
from generator.engine.conditions.registry import CONDITIONS
from generator.engine.items import Item

MODEL = "diffusion"
INPUT = "REQUEST"
Arrays = Mapping[str, NDArray[Any]]

_PLAIN = ("model", "seed", "steps", "guidance_scale", "deterministic")
_TEXT, _NEGATIVE, _CONDITION = "text/", "negative/", "condition/"


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
    """Returns the input of an item whose texts and images are encoded already."""
    item = request.item
    plain = {
        "expected": request.expected,
        "is_urgent": request.is_urgent,
        "condition": item.condition.name,
        "artefacts": [[one.uri, one.sha256, one.kind] for one in item.artefacts],
        **{name: getattr(item, name) for name in _PLAIN},
    }
    arrays = {
        "item": np.frombuffer(json.dumps(plain).encode(), np.uint8),
        **_prefixed(_TEXT, _encoded(item.text)),
        **_prefixed(_NEGATIVE, _encoded(item.negative)),
        **_prefixed(_CONDITION, item.condition.arrays()),
    }
    # Not ascontiguousarray, which gives a number a dimension.
    whole = {name: values.copy(order="C") for name, values in arrays.items()}
    return {INPUT: np.frombuffer(safetensors.numpy.save(whole), np.uint8)[None]}


def to_request(arrays: Arrays) -> Request:
    """Returns the item and how it is wanted. Raises ValueError for what is none."""
    rows = arrays[INPUT]
    if len(rows) != 1:
        raise ValueError("a request is one image: send tensors with a batch dimension of 1")
    try:
        return _request(safetensors.numpy.load(rows[0].tobytes()))
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"the request is not an item in a safetensors file: {error}") from error


def expectation(digest: str, engine: str) -> str:
    """Returns what decides over an image's bits besides its item, in a form to compare."""
    return f"model {digest} on the engine {engine}"


def _request(found: Arrays) -> Request:
    plain = json.loads(found["item"].tobytes())
    item = Item(
        **{name: plain[name] for name in _PLAIN},
        text=_under(_TEXT, found),
        negative=_under(_NEGATIVE, found),
        condition=CONDITIONS[plain["condition"]].from_arrays(_under(_CONDITION, found)),
        artefacts=tuple(Artefact(u, s, Kind(k)) for u, s, k in plain["artefacts"]),
    )
    return Request(item, plain["expected"], plain["is_urgent"])


def _prefixed(prefix: str, arrays: Arrays) -> dict[str, NDArray[Any]]:
    return {prefix + name: values for name, values in arrays.items()}


def _under(prefix: str, arrays: Arrays) -> dict[str, NDArray[Any]]:
    # Copies: what was read of a file cannot be written to, which torch wants of its tensors.
    return {
        name.removeprefix(prefix): values.copy()
        for name, values in arrays.items()
        if name.startswith(prefix)
    }


def _encoded(text: Text) -> TextArrays:
    if isinstance(text, str | CaptionMix | WordedText | LearnedText):
        raise TypeError("a text must be encoded before it is sent")
    return text
