"""Images of a run by number: squares of pixels, however they are kept."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


class Images(Protocol):
    """Squares of equal size. Reading takes no memory that stays, so that any number fits."""

    def __len__(self) -> int:
        """How many there are."""

    def read(self, row: int) -> Pixels:
        """The pixels of one, uint8 [size, size, 3]; not to be written to."""


class DecodedImages:
    """Images that are kept as pixels, uint8 [N, size, size, 3] in a .npy file."""

    def __init__(self, file: Path) -> None:
        self._pixels: Pixels = np.load(file, mmap_mode="r")

    def __len__(self) -> int:
        return len(self._pixels)

    def read(self, row: int) -> Pixels:
        return self._pixels[row]


class Chosen:
    """Some rows of some images, one part after the other."""

    def __init__(self, *parts: tuple[Images, NDArray[np.int64]]) -> None:
        self._parts = parts

    def __len__(self) -> int:
        return sum(len(rows) for _, rows in self._parts)

    def read(self, row: int) -> Pixels:
        for images, rows in self._parts:
            if row < len(rows):
                return images.read(int(rows[row]))
            row -= len(rows)
        raise IndexError(row)


def read_batch(images: Images, rows: Sequence[int]) -> Pixels:
    """The images of these rows, uint8 [B, size, size, 3]."""
    return np.stack([images.read(row) for row in rows])
