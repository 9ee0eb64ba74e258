"""The proof that images can be made: one that is."""

from collections.abc import Sequence

from diffusion.card import ModelCard
from generator.engine.conditions.registry import example_of
from generator.engine.items import Item


def probe_item(cards: Sequence[ModelCard]) -> Item:
    """Returns the cheapest item: one step without guidance, by text alone if a model does that."""
    card = min(cards, key=lambda card: (card.needs_image, card.name))
    return Item(card.name, 0, 1, 1.0, condition=example_of(card))
