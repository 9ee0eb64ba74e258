"""Refuses items that their model can never make, before they wait in a queue."""

import math
from collections.abc import Sequence
from dataclasses import replace

from diffusion.artefacts.facts import Artefact, Kind
from diffusion.card import ADAPTED, ModelCard
from diffusion.embeddings import LearnedText, Text, WordedText
from diffusion.errors import BadCondition
from diffusion.families.base import TEXT
from diffusion.mixing import CaptionMix
from generator.engine.conditions.embeddings import check_embedding
from generator.engine.conditions.registry import check_condition
from generator.engine.items import Item

_MOST_STEPS = 1000


def changed_card(card: ModelCard, artefacts: Sequence[Artefact]) -> ModelCard:
    """Returns the card of a model with artefacts in its U-Net: with an adapter it takes images.

    Raises BadCondition for a kind that a call has no place for, for two of a kind, and for an
    adapter where the model has one or no image encoder.
    """
    first: dict[Kind, int] = {}
    for number, artefact in enumerate(artefacts):
        field, kind = f"artefacts[{number}].kind", artefact.kind
        if kind not in (Kind.UNET, Kind.ADAPTER):
            raise BadCondition(
                field,
                "WRONG_PLACE",
                f"artefacts of the kind {kind.name} are of a text; put this one into the artefacts "
                "of the items' texts",
            )
        if kind in first:
            raise BadCondition(
                field, "REPEATED_KIND", f"artefacts[{first[kind]}] is of the kind {kind.name}, too"
            )
        first[kind] = number
    if Kind.ADAPTER not in first:
        return card
    if not card.takes_adapter:
        why = (
            "it has one in its folder"
            if card.adapter
            else "no image_encoder/ of safetensors lies in its folder, or its family takes none"
        )
        raise BadCondition(
            f"artefacts[{first[Kind.ADAPTER]}]",
            "NO_ADAPTER",
            f"model {card.name!r} cannot be given an adapter: {why}",
        )
    return replace(card, accepts=(*card.accepts, *ADAPTED))


def check_item(item: Item, card: ModelCard) -> None:
    """Raises BadCondition naming the field that the model cannot use.

    `card` is that of the model itself; the item's artefacts change it.
    """
    card = changed_card(card, item.artefacts)
    if not 1 <= item.steps <= _MOST_STEPS:
        raise BadCondition(
            "steps", "OUT_OF_RANGE", f"steps is {item.steps}; use 1 to {_MOST_STEPS}"
        )
    if not math.isfinite(item.guidance_scale):
        raise BadCondition("guidance_scale", "OUT_OF_RANGE", "the guidance scale is not a number")
    _check_text("text", item.text, card)
    _check_text("negative", item.negative, card)
    check_condition(item.condition, card)


def no_image_encoder(card: ModelCard) -> BadCondition:
    """Returns the error of a model that cannot embed images."""
    return BadCondition(
        "model",
        "NO_IMAGE_ENCODER",
        f"model {card.name!r} has the mode {card.mode!r} and no image encoder; models of mode "
        "'unclip' have one, and those with image_encoder/ in their folder, for IP-Adapters",
    )


def _check_text(field: str, text: Text, card: ModelCard) -> None:
    if isinstance(text, WordedText):
        text = text.text
    if isinstance(text, LearnedText):
        text = text.arrays
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
