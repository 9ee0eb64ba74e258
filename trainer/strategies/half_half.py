"""Every batch half real (drawn with replacement) and half synthetic, with a balanced softmax."""

import numpy as np
import torch
from torch import Tensor

from trainer.strategies.base import Rows, Sources, Strategy, shuffled

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

    def rows(self, step: int) -> Rows:
        sources = self.sources
        synthetic_size = sources.batch_size // 2
        draw = np.random.default_rng([sources.seed, step, 1])
        real = draw.integers(sources.real_count, size=sources.batch_size - synthetic_size)
        synthetic_count = sources.count - sources.real_count
        synthetic = shuffled(synthetic_count, step, synthetic_size, sources.seed)
        return np.concatenate([real, synthetic + sources.real_count])

    def loss(self, logits: Tensor, labels: Tensor, label_smoothing: float) -> Tensor:
        return super().loss(logits + self._log_counts.to(logits.device), labels, label_smoothing)


def create(sources: Sources) -> Strategy:
    """The strategy for these sources."""
    return HalfHalf(sources)
