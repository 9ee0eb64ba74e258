"""mixup: each image fades into another of its batch, and so do the labels."""

import numpy as np
from torch import Tensor

from trainer.mixing import Blend

SOURCE = "Zhang et al., mixup: Beyond Empirical Risk Minimization"
MIXES = True

# Of the beta distribution: the paper's for CIFAR-10, and for ImageNet.
_ALPHA, _ALPHA_OF_LARGE, _LARGE = 1.0, 0.2, 128


def create_blend(size: int) -> Blend:
    """The mixing of images of this size, one share for a batch."""
    alpha = _ALPHA_OF_LARGE if size >= _LARGE else _ALPHA

    def blend(
        images: Tensor, partners: Tensor, random: np.random.Generator
    ) -> tuple[Tensor, float]:
        share = float(random.beta(alpha, alpha))
        return share * images + (1 - share) * partners, share

    return blend
