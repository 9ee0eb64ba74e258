"""Every batch half real (drawn with replacement) and half synthetic, with a balanced softmax."""

import numpy as np
import torch
from torch import Tensor

from trainer.strategies.base import Draw, Sources, Strategy, joined, shuffled

SOURCE = "AUGCOND section 4 (long tail)"
NEEDS_SYNTHETIC = True


class HalfHalf(Strategy):
    """The balanced softmax adds the log of the real class counts to the training logits.

    So a class with few real images is not unlearned. Where all classes have equally many, it is
    the plain cross-entropy. An odd batch gives the odd image to the real half.
    """

    def __init__(self, sources: Sources) -> None:
        super().__init__(sources)
        real_labels = sources.labels[: sources.real_count]
        counts = np.bincount(real_labels, minlength=sources.class_count)
        # A class without any real image counts as one: its log would be minus infinity.
        self._log_counts = torch.from_numpy(np.log(np.maximum(counts, 1))).float()

    def draw(self, step: int) -> Draw:
        sources = self.sources
        synthetic_size = sources.batch_size // 2
        real_size = sources.batch_size - synthetic_size
        random = np.random.default_rng([sources.seed, step, 1])
        real = random.integers(sources.real_count, size=real_size)
        synthetic_count = sources.count - sources.real_count
        first = step * synthetic_size
        synthetic = shuffled(synthetic_count, first, first + synthetic_size, sources.seed)
        # Drawn with replacement, every image is a pass of its own.
        passes = np.arange(step * real_size, (step + 1) * real_size)
        return joined(Draw(real, passes), synthetic, sources.real_count)

    def loss(self, logits: Tensor, labels: Tensor, label_smoothing: float) -> Tensor:
        return super().loss(logits + self._log_counts.to(logits.device), labels, label_smoothing)


def create(sources: Sources) -> Strategy:
    """The strategy for these sources."""
    return HalfHalf(sources)
