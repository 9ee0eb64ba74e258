"""The conditions by their names, found in the files beside this one."""

from collections.abc import Mapping
from typing import Any

from diffusion.card import ModelCard
from diffusion.errors import BadCondition
from generator.engine import conditions as package
from generator.engine.conditions.base import Condition, Reader
from generator.engine.conditions.text import TextAlone
from servicekit.registry import registered

CONDITIONS: Mapping[str, type[Condition]] = registered(package, "CONDITION", key="name")


def names_of(card: ModelCard) -> list[str]:
    """Returns the names of the image conditions that a model takes, sorted."""
    return [name for name, kind in CONDITIONS.items() if kind.uses in card.accepts]


async def condition_from_pb(image: Any, field: str, reader: Reader, card: ModelCard) -> Condition:
    """Returns the condition of an ImageCondition, text alone where it is unset.

    Raises BadCondition before any image is read if the model does not take it.
    """
    name = image.WhichOneof("condition") or ""
    kind = CONDITIONS[name]
    _refuse_another_kind(kind, card)
    message = getattr(image, name) if name else None
    return await kind.from_pb(message, f"{field}.{name}", reader)


def check_condition(condition: Condition, card: ModelCard) -> None:
    """Raises BadCondition naming the field that the model cannot use."""
    _refuse_another_kind(type(condition), card)
    condition.check(card)


def example_of(card: ModelCard) -> Condition:
    """Returns the simplest condition with which the model makes an image."""
    if not card.needs_image:
        return TextAlone()
    return CONDITIONS[names_of(card)[0]].example(card)


def _refuse_another_kind(kind: type[Condition], card: ModelCard) -> None:
    if kind.uses and kind.uses not in card.accepts:
        raise BadCondition(
            f"image.{kind.name}",
            "WRONG_MODE",
            f"the image condition {kind.name!r} is for {kind.models}; model {card.name!r} has the "
            f"mode {card.mode!r}",
        )
    if card.needs_image and not kind.uses:
        names = " or ".join(map(repr, names_of(card)))
        raise BadCondition(
            "image",
            "CONDITION_REQUIRED",
            f"model {card.name!r} has the mode {card.mode!r} and needs the image condition {names}",
        )
