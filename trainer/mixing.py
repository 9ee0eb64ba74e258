"""Mixes the images of a batch in pairs, and shares their labels out accordingly.

An image is mixed with the next of its own kind in the batch, the last with the first: real images
with real ones, synthetic with synthetic ones. So a batch has as much of each kind as its strategy
drew, and no image is half of the one and half of the other: the batch norms of 'aux_bn', the halves
of 'half_half' and the second phase of 'two_phase' are what they are without mixing. The only one of
its kind in a batch stays as it is. Batches are shuffled already, so the next is any.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from trainer.data.samples import Batch
from trainer.distribution import Share

_DRAW = 3  # of the numbers that tell the random draws of a step apart


class Blend(Protocol):
    """Joins images with their partners: a policy's way of mixing."""

    def __call__(
        self, images: Tensor, partners: Tensor, random: np.random.Generator
    ) -> tuple[Tensor, float]:
        """Both are [B, 3, H, W]. Returns the mixed images, and the share of the first in each."""


class Mixed(NamedTuple):
    """Images uint8 [B, H, W, 3], those to mix them with, and the labels of both, [B]."""

    images: Tensor
    partners: Tensor
    labels: Tensor
    partner_labels: Tensor

    def targets(self, share: float, class_count: int) -> Tensor:
        """The share of each class in images of which `share` is their own, [B, class_count]."""
        own, others = (
            one_hot(labels, class_count).float() for labels in (self.labels, self.partner_labels)
        )
        return share * own + (1 - share) * others


def any_of(blends: Sequence[Blend]) -> Blend:
    """One of several a step, each with the same chance; one alone draws nothing for that."""
    if len(blends) == 1:
        return blends[0]

    def blend(
        images: Tensor, partners: Tensor, random: np.random.Generator
    ) -> tuple[Tensor, float]:
        return blends[int(random.integers(len(blends)))](images, partners, random)

    return blend


def paired(batch: Batch, share: Share) -> Mixed:
    """The images of this process with their partners, which another process may have.

    What is paired does not depend on how many processes share the batch.
    """
    whole = Batch(*(share.whole(part) for part in batch)) if share.count > 1 else batch
    places = share.of_batch(partner_places(whole.synthetic))
    return Mixed(batch.images, whole.images[places], batch.labels, whole.labels[places])


def partner_places(synthetic: Tensor) -> Tensor:
    """The place of each image's partner in the batch, int64 [B], for a bool [B]."""
    places = torch.empty(len(synthetic), dtype=torch.int64, device=synthetic.device)
    for kind in (synthetic, ~synthetic):
        own = kind.nonzero().flatten()
        places[own] = own.roll(-1)
    return places


def random_of(seed: int, step: int) -> np.random.Generator:
    """What a step's mixing draws from, alike in all processes."""
    return np.random.default_rng([seed, step, _DRAW])
