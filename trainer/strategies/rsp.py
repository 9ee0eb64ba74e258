"""Real images, half of whose places each go to a synthetic one with probability 0.8."""

import numpy as np

from trainer.strategies.base import Draw, Sources, Strategy, joined, shuffled

SOURCE = "MVC section 4 (random selection with probability)"
NEEDS_SYNTHETIC = True

_PROBABILITY = 0.8  # the paper's


class RandomSelection(Strategy):
    """Both kinds come in shuffled passes of their own; how many of a batch are synthetic is chance.

    The paper adds synthetic images to batches of real ones. A batch of ours keeps its size, so
    that rows of a comparison see equally many images: its first half is real, and each place of its
    second half is synthetic with that probability. An odd batch has the odd image in the first.
    """

    def __init__(self, sources: Sources) -> None:
        super().__init__(sources)
        random = np.random.default_rng([sources.seed, 2])
        half = sources.batch_size // 2
        counts = random.binomial(half, _PROBABILITY, sources.step_count)
        # Synthetic images drawn before each step, and after the last.
        self._before = np.concatenate([[0], np.cumsum(counts)])

    def draw(self, step: int) -> Draw:
        sources = self.sources
        first, end = (int(count) for count in self._before[step : step + 2])
        size = sources.batch_size
        real = shuffled(
            sources.real_count, step * size - first, (step + 1) * size - end, sources.seed
        )
        synthetic = shuffled(sources.count - sources.real_count, first, end, sources.seed)
        return joined(real, synthetic, sources.real_count)


def create(sources: Sources) -> Strategy:
    """The strategy for these sources."""
    return RandomSelection(sources)
