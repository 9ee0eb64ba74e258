"""What is drawn for every step and for validation: images, times, and a seed for each sample.

Every draw depends on the seed, the image and how often it was drawn before, and on nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from diffusion.noise import generator_of
from trainer.data.seeds import seed_of
from trainer.distribution import Share
from trainer.tunings.base import Samples, chosen
from trainer.tunings.images import TuningImages

# Images that are held out are drawn so often in all, at least.
LEAST_HELD_OUT = 64
# Draws of validation are numbered from here, apart from those of training.
_HELD_OUT = 1 << 40


@dataclass(frozen=True, eq=False)
class Draw:
    """The samples of a batch or of a part of it, and the time of each."""

    samples: Samples
    times: Sequence[int]


class Draws:
    """This process's share of every batch, and of what is held out."""

    def __init__(
        self, images: TuningImages, time_count: int, batch_size: int, share: Share, seed: int
    ) -> None:
        self._images, self._times, self._batch_size = images, time_count, batch_size
        self._share, self._seed = share, seed

    def batch(self, step: int) -> Draw:
        """The batch of a step, from 0: all images once, in a random order, then all again."""
        count = self._images.train_count
        places = range(step * self._batch_size, (step + 1) * self._batch_size)
        passes = [place // count for place in places]
        orders = {one: self._order(one) for one in set(passes)}
        rows = [int(orders[place // count][place % count]) for place in places]
        own = self._share.of_batch(list(zip(rows, passes, strict=True)))
        generators = [self._generator(row, number) for row, number in own]
        times = [chosen(self._times, generator) for generator in generators]
        return self._draw([row for row, _ in own], generators, times)

    def held_out(self) -> Draw:
        """What the validation loss is of; the training images where none is held out.

        Times are spread evenly, so that it is exact with few images.
        """
        rows = list(range(self._images.train_count, len(self._images)))
        rows = rows or list(range(self._images.train_count))
        count = max(LEAST_HELD_OUT, len(rows))
        spread = np.random.default_rng([self._seed, _HELD_OUT]).permutation(count)
        drawn = [
            (rows[n % len(rows)], _HELD_OUT + n // len(rows), (2 * int(at) + 1) * self._times)
            for n, at in enumerate(spread)
        ]
        own = self._share.of_batch(drawn)
        generators = [self._generator(row, number) for row, number, _ in own]
        times = [at // (2 * count) for _, _, at in own]
        return self._draw([row for row, _, _ in own], generators, times)

    def _order(self, number: int) -> NDArray[np.int64]:
        return np.random.default_rng([self._seed, number]).permutation(self._images.train_count)

    def _generator(self, row: int, number: int) -> torch.Generator:
        return generator_of(seed_of(self._seed, number, int(self._images.keys[row])))

    def _draw(self, rows: list[int], generators: list[torch.Generator], times: list[int]) -> Draw:
        labels = [int(self._images.labels[row]) for row in rows]
        return Draw(Samples(rows, labels, generators), times)
