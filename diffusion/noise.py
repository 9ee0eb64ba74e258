"""Random draws: one generator per item, so that an image depends on its own seed only."""

import hashlib

import torch

_LOW = 2**32


def generator_of(seed: int) -> torch.Generator:
    """Returns the generator of a seed, 0 to 2^64 - 1.

    It lives on the CPU, so that the draws are the same on every device. Torch's CPU generator
    reads the low 32 bits of a seed only; larger seeds are hashed, so that their high bits count.
    """
    if seed >= _LOW:
        seed = int.from_bytes(hashlib.sha256(seed.to_bytes(8, "little")).digest()[:4], "little")
    return torch.Generator("cpu").manual_seed(seed)


def normal(
    shape: tuple[int, ...], generator: torch.Generator, device: torch.device, dtype: torch.dtype
) -> torch.Tensor:
    """Returns standard normal noise, drawn in float32 on the CPU."""
    return torch.randn(shape, generator=generator).to(device, dtype)
