"""Refuses items that their model can never make, before they wait in a queue."""

import math

from diffusion.card import Card
from diffusion.embeddings import Text
from diffusion.errors import BadCondition
from diffusion.families.base import TEXT
from diffusion.mixing import CaptionMix
from generator.engine.conditions.embeddings import check_embedding
from generator.engine.conditions.registry import check_condition
from generator.engine.items import Item

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
    check_condition(item.condition, card)


def no_image_encoder(card: Card) -> BadCondition:
    """Returns the error of a model that cannot embed images."""
    return BadCondition(
        "model",
        "NO_IMAGE_ENCODER",
        f"model {card.name!r} has the mode {card.mode!r} and no image encoder; models of mode "
        "'unclip' have one, and those with an IP-Adapter",
    )


def _check_text(field: str, text: Text, card: Card) -> None:
    if isinstance(text, str):
        return
    if isinstance(text, CaptionMix):
        if problem := text.problem(card.text_shape):
            raise BadCondition(f"{field}.mix", "BAD_MIX", f"the mix cannot be made: {problem}")
        return
    if text.keys() != card.text_shapes.keys():
        raise BadCondition(
            field,
            "WRONG_TENSORS",
            f"an encoded text of model {card.name!r} is {' and '.join(card.text_shapes)}; given "
            f"{'is' if len(text) == 1 else 'are'} {' and '.join(text) or 'nothing'}",
        )
    for name, shape in card.text_shapes.items():
        path = field if name == TEXT else f"{field}.{name}"
        check_embedding(path, text[name], shape, card.text_encoder, card.name)
