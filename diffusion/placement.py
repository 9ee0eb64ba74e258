"""Where a model runs, and in what numbers."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Placement:
    """A device and the type of the weights and of what is computed."""

    device: torch.device
    dtype: torch.dtype
