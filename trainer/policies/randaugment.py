"""RandAugment: two random changes of shape or colour an image, after the standard policy."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor
from torch.nn.functional import affine_grid, grid_sample

from trainer.policies import standard

SOURCE = "MVC section 4; Cubuk et al., RandAugment"

_CHANGES = 2  # an image
_STRENGTH = 0.5  # of the full range of each change; ours

Change = Callable[[Tensor, Tensor], Tensor]


def apply(images: Tensor, draw: Generator) -> Tensor:
    """Changes every image by its own draw. Images are uint8 [B, H, W, 3].

    A change gets images float [B, H, W, 3] in 0 to 1 and an amount [B, 1, 1, 1] in -1 to 1. All
    images with the same change are done at once.
    """
    changed = standard.apply(images, draw).float() / 255
    for _ in range(_CHANGES):
        choice = torch.randint(len(_ALL), (len(images),), generator=draw)
        amount = (2 * torch.rand(len(images), 1, 1, 1, generator=draw) - 1) * _STRENGTH
        for number, change in enumerate(_ALL):
            chosen = choice == number
            if chosen.any():
                changed[chosen] = change(changed[chosen], amount[chosen]).clamp(0, 1)
    return (changed * 255).round().byte()


def _identity(images: Tensor, amount: Tensor) -> Tensor:
    return images


def _brightness(images: Tensor, amount: Tensor) -> Tensor:
    return images * (1 + amount)


def _contrast(images: Tensor, amount: Tensor) -> Tensor:
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + (images - mean) * (1 + amount)


def _colour(images: Tensor, amount: Tensor) -> Tensor:
    grey = images.mean(3, keepdim=True)
    return grey + (images - grey) * (1 + amount)


def _solarize(images: Tensor, amount: Tensor) -> Tensor:
    return torch.where(images > 1 - amount.abs(), 1 - images, images)


def _posterize(images: Tensor, amount: Tensor) -> Tensor:
    levels = 2 ** (8 - 6 * amount.abs()).round()
    return (images * 255 / 256 * levels).floor() / (levels - 1)


def _equalize(images: Tensor, amount: Tensor) -> Tensor:
    """Stretches every channel to the full range; the amount does not matter."""
    low, high = images.amin((1, 2), keepdim=True), images.amax((1, 2), keepdim=True)
    return (images - low) / (high - low).clamp(min=1 / 255)


def _rotate(images: Tensor, amount: Tensor) -> Tensor:
    angle = amount.flatten() * torch.pi / 3
    return _warp(images, angle.cos(), -angle.sin(), angle.sin(), angle.cos())


def _shear_x(images: Tensor, amount: Tensor) -> Tensor:
    one, zero = torch.ones(len(images)), torch.zeros(len(images))
    return _warp(images, one, amount.flatten() * 0.6, zero, one)


def _shear_y(images: Tensor, amount: Tensor) -> Tensor:
    one, zero = torch.ones(len(images)), torch.zeros(len(images))
    return _warp(images, one, zero, amount.flatten() * 0.6, one)


def _translate(images: Tensor, amount: Tensor) -> Tensor:
    one, zero = torch.ones(len(images)), torch.zeros(len(images))
    return _warp(images, one, zero, zero, one, shift=amount.flatten() * 0.6)


def _warp(
    images: Tensor, xx: Tensor, xy: Tensor, yx: Tensor, yy: Tensor, shift: Tensor | None = None
) -> Tensor:
    """Samples the images at a linear map of the places; what lies outside is black."""
    move = torch.zeros_like(xx) if shift is None else shift
    rows = [torch.stack([xx, xy, move], 1), torch.stack([yx, yy, torch.zeros_like(xx)], 1)]
    pixels = images.permute(0, 3, 1, 2)
    grid = affine_grid(torch.stack(rows, 1), list(pixels.shape), align_corners=False)
    return grid_sample(pixels, grid, align_corners=False).permute(0, 2, 3, 1)


_ALL: tuple[Change, ...] = (
    _identity,
    _brightness,
    _contrast,
    _colour,
    _solarize,
    _posterize,
    _equalize,
    _rotate,
    _shear_x,
    _shear_y,
    _translate,
)
