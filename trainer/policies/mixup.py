"""mixup: each image fades into another of its batch, and so do the labels; after standard."""

import numpy as np
from torch import Tensor
from torch.nn import Module

from trainer.mixing import Blend
from trainer.policies import standard

SOURCE = "Zhang et al., mixup: Beyond Empirical Risk Minimization"
WHOLE_FROM = 128  # as the standard policy

# Of the beta distribution: the paper's for CIFAR-10, and for ImageNet.
_ALPHA, _ALPHA_OF_WHOLE = 1.0, 0.2


def create(size: int) -> Module:
    """The transform for images of this size, before they are mixed."""
    return standard.create(size)


def create_blend(size: int) -> Blend:
    """The mixing of images of this size, one share for a batch."""
    alpha = _ALPHA_OF_WHOLE if size >= WHOLE_FROM else _ALPHA

    def blend(
        images: Tensor, partners: Tensor, random: np.random.Generator
    ) -> tuple[Tensor, float]:
        share = float(random.beta(alpha, alpha))
        return share * images + (1 - share) * partners, share

    return blend
