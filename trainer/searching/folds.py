"""Parts of the real training images: what a fold learns of, and what policies are tried on."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainer.data.images import Chosen
from trainer.data.samples import RunImages
from trainer.strategies.base import Draw, Sources, Strategy, UnfitModelError

_HELD_OUT = 0.4  # the authors' share
Rows = NDArray[np.int64]


class Fold(NamedTuple):
    """Images to learn of, and images to try policies on."""

    learned: RunImages
    tried: RunImages


def fold_of(images: RunImages, number: int, most_tried: int, seed: int) -> Fold:
    """The fold of a number: two fifths of each class are held out, `most_tried` images at most.

    A class of one image is learned alone. Synthetic images and test images are in none.
    """
    random = np.random.default_rng([seed, number, 5])
    labels = images.labels[: images.real_count]
    learned, tried = [], []
    for label in np.unique(labels):
        rows = random.permutation(np.flatnonzero(labels == label))
        held = max(1, int(_HELD_OUT * len(rows))) if len(rows) > 1 else 0
        tried.append(rows[:held])
        learned.append(rows[held:])
    held_out = random.permutation(np.concatenate(tried))[: most_tried or None]
    if not len(held_out):
        raise UnfitModelError(
            "the policy 'fast_autoaugment' holds images of each class out to try policies on, and "
            "no class has two; use the policy 'standard'"
        )
    return Fold(_part(images, np.concatenate(learned)), _part(images, held_out))


class InOrder(Strategy):
    """Every image once, in order: `number` is the pass that its changes are drawn for."""

    def __init__(self, sources: Sources, number: int) -> None:
        super().__init__(sources)
        self._number = number

    def draw(self, step: int) -> Draw:
        first, end = self.sources.places(step)
        rows = np.arange(first, min(end, self.sources.count))
        return Draw(rows, np.full(len(rows), self._number))


def _part(images: RunImages, rows: Rows) -> RunImages:
    return RunImages(
        train=Chosen((images.train, rows)),
        labels=images.labels[rows],
        keys=images.keys[rows],
        real_count=len(rows),
        test=Chosen(),
        test_labels=rows[:0],
    )
