"""Refuses items that their model can never make, before they wait in a queue."""

import math

import numpy as np

from diffusion.card import Card
from diffusion.embeddings import FloatArray, Text
from diffusion.errors import BadCondition
from generator.engine.items import Concat, Item, Start, Unclip

_NAMES: dict[type, str] = {Start: "start", Concat: "concat", Unclip: "unclip"}
_MODES: dict[str, str] = {"start": "text", "concat": "pix2pix", "unclip": "unclip"}
_NEEDED: dict[str, str] = {"pix2pix": "concat", "unclip": "unclip"}
_MOST_STEPS = 1000


def check_item(item: Item, card: Card) -> None:
    """Raises BadCondition naming the field that the model cannot use."""
    if not 1 <= item.steps <= _MOST_STEPS:
        raise BadCondition(
            "steps", "OUT_OF_RANGE", f"steps is {item.steps}; use 1 to {_MOST_STEPS}"
        )
    if not math.isfinite(item.guidance_scale):
        raise BadCondition("guidance_scale", "OUT_OF_RANGE", "the guidance scale is not a number")
    _check_text("text", item.text, card)
    _check_text("negative", item.negative, card)
    _check_kind(item, card)
    _check_values(item, card)


def no_image_encoder(card: Card) -> BadCondition:
    """Returns the error of a model that cannot embed images."""
    return BadCondition(
        "model",
        "NO_IMAGE_ENCODER",
        f"model {card.name!r} has the mode {card.mode!r} and no image encoder; models of mode "
        "'unclip' have one",
    )


def check_embedding(
    field: str, values: FloatArray, shape: tuple[int, ...], encoder: str, model: str
) -> None:
    """Raises BadCondition unless `values` has the shape of the encoder and is finite."""
    if values.shape != shape:
        raise BadCondition(
            field,
            "WRONG_SHAPE",
            f"the embedding has the shape {list(values.shape)}; {encoder}, the encoder of model "
            f"{model!r}, makes {list(shape)}",
        )
    if not bool(np.isfinite(values).all()):
        raise BadCondition(
            field, "NOT_FINITE", "the embedding holds values that are NaN or infinite"
        )


def _check_text(field: str, text: Text, card: Card) -> None:
    if not isinstance(text, str):
        check_embedding(field, text, card.text_shape, card.text_encoder, card.name)


def _check_kind(item: Item, card: Card) -> None:
    given = _NAMES[type(item.condition)] if item.condition is not None else ""
    if given and _MODES[given] != card.mode:
        raise BadCondition(
            f"image.{given}",
            "WRONG_MODE",
            f"the image condition {given!r} is for models of mode {_MODES[given]!r}; model "
            f"{card.name!r} has the mode {card.mode!r}",
        )
    needed = _NEEDED.get(card.mode, "")
    if needed and not given:
        raise BadCondition(
            "image",
            "CONDITION_REQUIRED",
            f"model {card.name!r} has the mode {card.mode!r} and needs the image condition "
            f"{needed!r}",
        )


def _check_values(item: Item, card: Card) -> None:
    condition = item.condition
    if isinstance(condition, Start) and not 0 < condition.strength <= 1:
        raise BadCondition(
            "image.start.strength", "OUT_OF_RANGE", "the strength is above 0 and at most 1"
        )
    if isinstance(condition, Unclip):
        if not 0 <= condition.noise_level < 1000:
            raise BadCondition(
                "image.unclip.noise_level", "OUT_OF_RANGE", "the noise level is 0 to 999"
            )
        if isinstance(condition.source, np.ndarray):
            shape = (card.image_dimension,)
            field = "image.unclip.embedding"
            check_embedding(field, condition.source, shape, card.image_encoder, card.name)
