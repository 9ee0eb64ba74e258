"""Prepares torchvision before any test here imports open_clip or diffusers."""

import pytest
import torch

from models.torchvision_cpu import declare_missing_operators

declare_missing_operators()


@pytest.fixture(autouse=True)
def _same_noise() -> None:
    torch.manual_seed(0)
