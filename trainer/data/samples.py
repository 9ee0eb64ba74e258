"""What a training step and a test see: batches by number, made alike in whichever process.

Every sample is changed with a seed of its own, of the run, the image and the time it is drawn. So
it depends neither on the other samples of its batch nor on how many processes make batches.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.data.images import Chosen, Images, open_images, read_batch
from trainer.data.seeds import seed_of
from trainer.distribution import Share
from trainer.strategies.base import Strategy

ROWS = "rows.npz"

Policy = Callable[[Tensor], Tensor]


class Batch(NamedTuple):
    """Images uint8 [B, H, W, 3], labels [B], and whether each is synthetic [B]."""

    images: Tensor
    labels: Tensor
    synthetic: Tensor


@dataclass(frozen=True)
class RunImages:
    """The images of a run and their labels; real training images come before synthetic ones.

    `keys` has a number of 64 bits for each training image that tells it from all others.
    """

    train: Images
    labels: NDArray[np.int64]
    keys: NDArray[np.uint64]
    real_count: int
    test: Images
    test_labels: NDArray[np.int64]
    test_sets: tuple[tuple[str, Images, NDArray[np.int64]], ...] = ()
    """Further images to test with, by name, and their labels."""
    validation: tuple[Images, NDArray[np.int64]] | None = None
    """Images to choose by, and their labels; None if the run has none."""


def read_images(folder: Path, size: int) -> RunImages:
    """Reads which images `rows.npz` chooses from those of the cache.

    It holds the place of each part (`real_path`, `synthetic_path`), the rows of it (`train_rows`,
    `test_rows`, `synthetic_rows`), labels (`train_labels`, with the synthetic ones last, and
    `test_labels`) and `keys`, in the order of `train_labels`. Of further test sets it holds
    `test_set_names`, `test_set_paths`, and `test_set_0_labels` and so on of all their images. Where
    there are images to choose by it holds `validation_rows`, of the real ones, and
    `validation_labels`.
    """
    rows = dict(np.load(folder / ROWS))
    real = open_images(Path(str(rows["real_path"])), size)
    parts: list[tuple[Images, NDArray[np.int64]]] = [(real, rows["train_rows"])]
    if len(rows["synthetic_rows"]):
        synthetic = open_images(Path(str(rows["synthetic_path"])), size)
        parts.append((synthetic, rows["synthetic_rows"]))
    kept = rows.get("validation_rows", ())
    return RunImages(
        train=Chosen(*parts),
        labels=rows["train_labels"],
        keys=rows["keys"],
        real_count=len(rows["train_rows"]),
        test=Chosen((real, rows["test_rows"])),
        test_labels=rows["test_labels"],
        test_sets=tuple(
            (str(name), open_images(Path(str(path)), size), rows[f"test_set_{number}_labels"])
            for number, (name, path) in enumerate(_pairs(rows))
        ),
        validation=(Chosen((real, kept)), rows["validation_labels"]) if len(kept) else None,
    )


def _pairs(rows: Mapping[str, Any]) -> Iterable[tuple[Any, Any]]:
    names = rows.get("test_set_names", ())
    return zip(names, rows["test_set_paths"], strict=True) if len(names) else ()


class TrainingBatches:
    """The share of a process in the batch of every step, with the policy's changes.

    `sees_whole` gives the policy whole pictures and not their squares.
    """

    def __init__(
        self,
        images: RunImages,
        strategy: Strategy,
        policy: Policy,
        share: Share,
        seed: int,
        sees_whole: bool = False,
    ) -> None:
        self._read = images.train.read_whole if sees_whole else images.train.read
        self._images = images
        self._strategy = strategy
        self._policy = policy
        self._share = share
        self._seed = seed

    def __getitems__(self, step: int) -> Batch:
        """The batch of a step, counted from 0. Draws from torch's default generator."""
        draw = self._strategy.draw(step)
        rows, passes = self._share.of_batch(draw.rows), self._share.of_batch(draw.passes)
        batch = torch.empty(0, dtype=torch.uint8)
        for place, (row, number) in enumerate(zip(rows.tolist(), passes.tolist(), strict=True)):
            pixels = self._changed(row, number)
            if place == 0:
                batch = torch.empty((len(rows), *pixels.shape), dtype=torch.uint8)
            batch[place] = pixels
        return Batch(
            batch,
            torch.from_numpy(self._images.labels[rows]),
            torch.from_numpy(rows >= self._images.real_count),
        )

    def _changed(self, row: int, number: int) -> Tensor:
        """The pixels of one sample, uint8 [H, W, 3]."""
        seed = seed_of(self._seed, number, int(self._images.keys[row]))
        torch.default_generator.manual_seed(seed)
        pixels = torch.from_numpy(self._read(row).copy())
        return self._policy(pixels.permute(2, 0, 1)).permute(1, 2, 0)


class PlainBatches:
    """Images as they are, in their order, uint8 [B, H, W, 3] a batch."""

    size = 250

    def __init__(self, images: Images) -> None:
        self._images = images

    def __len__(self) -> int:
        return -(-len(self._images) // self.size)

    def __getitems__(self, number: int) -> Tensor:
        """The batch of this number, counted from 0."""
        first = number * self.size
        rows: Sequence[int] = range(first, min(first + self.size, len(self._images)))
        return torch.from_numpy(read_batch(self._images, rows))
