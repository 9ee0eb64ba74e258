"""Images to tensors and back."""

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from diffusion.errors import BrokenImage


def fit(image: Image.Image, width: int, height: int) -> Image.Image:
    """Returns the image as RGB of this size. Other shapes are cropped at the centre."""
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
    return image.convert("RGB")


def to_tensor(image: Image.Image, width: int, height: int) -> Tensor:
    """Returns [3, height, width] in [-1, 1]. Other shapes are cropped at the centre."""
    pixels = np.asarray(fit(image, width, height), dtype=np.float32) / 255.0
    return torch.from_numpy(pixels).permute(2, 0, 1) * 2.0 - 1.0


def to_pixels(image: Tensor) -> NDArray[np.uint8]:
    """Returns the uint8 pixels [height, width, 3] of a decoded image [3, height, width].

    Raises BrokenImage for values that are not numbers and for a picture that is all black.
    """
    values = image.float()
    if not bool(torch.isfinite(values).all()):
        raise BrokenImage(
            "the model's output holds values that are not numbers; lower the guidance scale or "
            "check the embedding"
        )
    levels = (values / 2 + 0.5).clamp(0, 1).permute(1, 2, 0).cpu().numpy() * 255
    pixels: NDArray[np.uint8] = levels.round().astype(np.uint8)
    if not pixels.any():
        raise BrokenImage("the model's output is all black; try another seed or guidance scale")
    return pixels
