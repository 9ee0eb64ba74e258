"""Starts the autoencoder's encoder as a principal component analysis of 4 x 4 patches.

From random weights an encoder first drops colour and detail and needs long to find them again. The
first eight principal components already keep what a classifier needs, and a diffusers encoder can
compute them exactly: its residual stream is linear as long as the residual branches are zero, and
the last normalisation and SiLU become linear when x comes with its negative beside two constants
that fix the scale, for silu(x) - silu(-x) = x. Training then improves encoder and decoder together.
"""

from typing import Any

import torch
from torch import Tensor, nn

PATCH = 4
ANCHOR = 16.0  # the constants, large beside the components


def components(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """images [n, 3, 32, 32] in [-1, 1] -> mean [48], directions [48, 3, 4, 4], deviations [48]."""
    patches = images.unfold(2, PATCH, PATCH).unfold(3, PATCH, PATCH)
    rows = patches.permute(0, 2, 3, 1, 4, 5).reshape(-1, 3 * PATCH * PATCH)
    mean = rows.mean(0)
    _, singular, directions = torch.linalg.svd(rows - mean, full_matrices=False)
    return mean, directions.view(-1, 3, PATCH, PATCH), singular / len(rows) ** 0.5


@torch.no_grad()
def start(vae: Any, images: Tensor) -> None:
    """Sets the encoder's weights; channel widths 16, 32, 64 and eight normalisation groups."""
    mean, directions, deviations = components(images)
    encoder, latent = vae.encoder, vae.config.latent_channels
    for module in encoder.modules():
        if type(module).__name__ == "ResnetBlock2D":
            nn.init.zeros_(module.conv2.weight)
            nn.init.zeros_(module.conv2.bias)
    first, second, third = encoder.down_blocks
    # Carry the colours, then gather 2 x 2 pixels in 12 channels.
    encoder.conv_in.weight[:3] = 0
    encoder.conv_in.weight[range(3), range(3), 1, 1] = 1
    encoder.conv_in.bias[:3] = 0
    gather = first.downsamplers[0].conv
    gather.weight[:12] = 0
    for channel in range(12):
        gather.weight[channel, channel // 4, channel // 2 % 2, channel % 2] = 1
    gather.bias[:12] = 0
    second.resnets[0].conv_shortcut.weight[:12] = torch.eye(12, 16)[:, :, None, None]
    second.resnets[0].conv_shortcut.bias[:12] = 0
    # Project 4 x 4 patches on the directions; partly even out their sizes.
    project = second.downsamplers[0].conv
    kept = directions[:32] / deviations[:32, None, None, None] ** 0.5
    project.weight.zero_()
    parts = kept.view(32, 3, 2, 2, 2, 2).permute(0, 1, 3, 5, 2, 4)  # k, colour, dy, dx, DY, DX
    project.weight[:, :12, :2, :2] = parts.reshape(32, 12, 2, 2)
    project.bias.copy_(-(kept.flatten(1) @ mean))
    _pair_up(third.resnets[0].conv_shortcut, latent)
    encoder.conv_norm_out.weight.fill_(ANCHOR / 2)
    encoder.conv_norm_out.bias.zero_()
    encoder.conv_out.weight.zero_()
    encoder.conv_out.bias.zero_()
    for channel in range(latent):
        encoder.conv_out.weight[channel, 8 * channel, 1, 1] = 1
        encoder.conv_out.weight[channel, 8 * channel + 1, 1, 1] = -1
    encoder.conv_out.bias[latent:] = -8  # log-variance: all but deterministic
    vae.quant_conv.weight.copy_(torch.eye(2 * latent)[:, :, None, None])
    vae.quant_conv.bias.zero_()


def _pair_up(shortcut: nn.Conv2d, latent: int) -> None:
    """Fills each group of eight channels with x, -x, two constants and two more pairs."""
    assert shortcut.bias is not None
    shortcut.weight.zero_()
    shortcut.bias.zero_()
    for group in range(latent):
        extras = (latent + group, 2 * latent + group)
        for place, source in ((0, group), (4, extras[0]), (6, extras[1])):
            shortcut.weight[8 * group + place, source] = 1
            shortcut.weight[8 * group + place + 1, source] = -1
        shortcut.bias[8 * group + 2] = ANCHOR
        shortcut.bias[8 * group + 3] = -ANCHOR
