"""CutMix: a box of each image is another's, and so is its part of the label."""

import numpy as np
from torch import Tensor

from trainer.mixing import Blend

SOURCE = "Yun et al., CutMix: Regularization Strategy to Train Strong Classifiers"
MIXES = True


def create_blend(size: int) -> Blend:
    """The mixing of images of this size, one box for a batch; its area is uniform as the paper's.

    The labels follow the pixels: a box that the edge cuts counts for what is left of it.
    """

    def blend(
        images: Tensor, partners: Tensor, random: np.random.Generator
    ) -> tuple[Tensor, float]:
        side = np.sqrt(1 - random.beta(1.0, 1.0))
        (top, bottom), (left, right) = (
            _extent(length, side, random) for length in images.shape[2:]
        )
        mixed = images.clone()
        mixed[:, :, top:bottom, left:right] = partners[:, :, top:bottom, left:right]
        return mixed, 1 - (bottom - top) * (right - left) / (images.shape[2] * images.shape[3])

    return blend


def _extent(length: int, share: float, random: np.random.Generator) -> tuple[int, int]:
    """A box's places [first, end) along one side, around a place that may be any."""
    middle, half = int(random.integers(length)), int(length * share) // 2
    return max(0, middle - half), min(length, middle + half)
