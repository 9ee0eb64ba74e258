"""What a model has to compute, counted, and how fast the device computes at best, measured."""

import time
from collections.abc import Callable
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu.shapes import Shape

_TOKENS = 77


def seconds(device: torch.device, work: Callable[[], Any]) -> float:
    """Returns how long work takes, until the device has done it."""
    synchronise(device)
    began = time.perf_counter()
    work()
    synchronise(device)
    return time.perf_counter() - began


def synchronise(device: torch.device) -> None:
    """Waits until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Returns the floating point operations a second of a large matrix product."""
    size = 8192 if device.type == "cuda" else 256
    matrix = torch.randn(size, size, device=device).to(dtype)
    repeats = 20

    def multiply() -> None:
        for _ in range(repeats):
            matrix @ matrix

    multiply()
    return repeats * 2 * size**3 / min(seconds(device, multiply) for _ in range(3))


def unet_flops(shape: Shape) -> int:
    """Returns the floating point operations of one U-Net row, counted without computing."""
    side = shape.unet["sample_size"]
    with torch.device("meta"):
        unet = UNet2DConditionModel(in_channels=4, out_channels=4, **shape.unet)
        texts = torch.empty(1, _TOKENS, shape.unet["cross_attention_dim"])
        latents, time = torch.empty(1, 4, side, side), torch.empty(1)
        added = {}
        if shape.is_xl:
            width = shape.text_encoders[1][0]
            added = {"text_embeds": torch.empty(1, width), "time_ids": torch.empty(1, 6)}
    return _counted(lambda: unet(latents, time, texts, added_cond_kwargs=added))


def decoder_flops(shape: Shape) -> int:
    """Returns the floating point operations of decoding one image."""
    levels, side = len(shape.vae["block_out_channels"]), shape.unet["sample_size"]
    with torch.device("meta"):
        vae = AutoencoderKL(
            latent_channels=4,
            down_block_types=["DownEncoderBlock2D"] * levels,
            up_block_types=["UpDecoderBlock2D"] * levels,
            **shape.vae,
        )
        latents = torch.empty(1, 4, side, side)
    return _counted(lambda: vae.decode(latents))


def _counted(work: Callable[[], Any]) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())
