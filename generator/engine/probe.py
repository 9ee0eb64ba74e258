"""The proof that images can be made: one that is."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from diffusion.card import Card
from generator.engine.items import Concat, Condition, Item, Unclip


def probe_item(cards: Sequence[Card]) -> Item:
    """Returns the cheapest item: one step without guidance, of a text model if there is one."""
    card = min(cards, key=lambda card: (card.mode != "text", card.name))
    grey = Image.new("RGB", (card.width, card.height), (128, 128, 128))
    conditions: dict[str, Condition] = {
        "pix2pix": Concat(grey),
        "unclip": Unclip(np.zeros(card.image_dimension, np.float32)),
    }
    return Item(card.name, 0, 1, 1.0, condition=conditions.get(card.mode))
