"""Random horizontal flip and random crop of the image padded by an eighth."""

import torch
from torch import Generator, Tensor
from torch.nn.functional import pad

SOURCE = ""

_PADDING = 8  # the image's side divided by this


def apply(images: Tensor, draw: Generator) -> Tensor:
    """Flips and crops every image by its own draw. Images are uint8 [B, H, W, 3]."""
    count, side = images.shape[0], images.shape[1]
    margin = max(1, side // _PADDING)
    padded = pad(images, (0, 0, margin, margin, margin, margin))
    offsets = torch.randint(2 * margin + 1, (2, count, 1), generator=draw)
    flips = torch.randint(2, (count, 1), generator=draw).bool()
    pixels = torch.arange(side)
    rows = offsets[0] + pixels
    columns = offsets[1] + torch.where(flips, pixels.flip(0), pixels)
    batch = torch.arange(count)[:, None, None]
    return padded[batch, rows[:, :, None], columns[:, None, :]]
