"""Pictures that stand for those of callers."""

from PIL import Image

from diffusion.card import ModelCard


def grey(card: ModelCard) -> Image.Image:
    """Returns a grey picture of the model's size."""
    return Image.new("RGB", (card.width, card.height), (128, 128, 128))
