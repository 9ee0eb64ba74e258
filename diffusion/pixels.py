"""Images to tensors and back."""

from collections.abc import Sequence

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


def to_pixels(images: Tensor) -> list[NDArray[np.uint8] | BrokenImage]:
    """Returns the uint8 pixels [height, width, 3] of decoded images [n, 3, height, width].

    In place of one that holds values that are not numbers or is all black, it returns the error.
    All come from the device in one copy.
    """
    values = images.float()
    are_numbers = torch.isfinite(values).flatten(1).all(dim=1)
    levels = (values / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1) * 255
    rows = torch.cat([levels.round().flatten(1), are_numbers[:, None]], dim=1)
    copied = rows.to(torch.uint8).cpu().numpy()
    return [_picture(row, levels.shape[1:]) for row in copied]


def _picture(row: NDArray[np.uint8], shape: Sequence[int]) -> NDArray[np.uint8] | BrokenImage:
    if not row[-1]:
        return BrokenImage(
            "the model's output holds values that are not numbers; lower the guidance scale or "
            "check the embedding"
        )
    pixels = row[:-1].reshape(shape)
    if not pixels.any():
        return BrokenImage("the model's output is all black; try another seed or guidance scale")
    return pixels
