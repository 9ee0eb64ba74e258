"""Images of a run by number: squares of pixels, however they are kept."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from imaging.decode import decode_image

# Of an entry of the cache: all pixels, or tar files with the place of each image in them.
PIXELS, INDEX = "images.npy", "index.npy"

Pixels = NDArray[np.uint8]


class Images(Protocol):
    """Squares of equal size. Reading takes no memory that stays, so that any number fits."""

    def __len__(self) -> int:
        """How many there are."""

    def read(self, row: int) -> Pixels:
        """The pixels of one, uint8 [size, size, 3]; not to be written to."""

    def read_whole(self, row: int) -> Pixels:
        """The pixels of one, uint8 [H, W, 3], as far as they are kept: at least its square."""


class DecodedImages:
    """Images that are kept as pixels, uint8 [N, size, size, 3] in a .npy file."""

    def __init__(self, file: Path) -> None:
        self._pixels: Pixels = np.load(file, mmap_mode="r")

    def __len__(self) -> int:
        return len(self._pixels)

    def read(self, row: int) -> Pixels:
        return self._pixels[row]

    def read_whole(self, row: int) -> Pixels:
        return self._pixels[row]


class EncodedImages:
    """Images that are kept as files in tar files, and decoded whenever they are read.

    `index.npy` has the number of the tar file, the offset in it and the length of each, int64
    [N, 3]. Nothing is mapped into memory but the index.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self._folder = folder
        self._size = size
        self._index: NDArray[np.int64] = np.load(folder / INDEX, mmap_mode="r")
        self._open: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._index)

    def read(self, row: int) -> Pixels:
        return np.asarray(fit(self._image(row), self._size))

    def read_whole(self, row: int) -> Pixels:
        return np.asarray(self._image(row))

    def _image(self, row: int) -> Image.Image:
        shard, offset, length = self._index[row].tolist()
        if shard not in self._open:
            self._open[shard] = os.open(self._folder / shard_name(shard), os.O_RDONLY)
        data = os.pread(self._open[shard], length, offset)
        return decode_image(data, f"image {row} of {self._folder}")

    def __del__(self) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)


class Chosen:
    """Some rows of some images, one part after the other."""

    def __init__(self, *parts: tuple[Images, NDArray[np.int64]]) -> None:
        self._parts = parts

    def __len__(self) -> int:
        return sum(len(rows) for _, rows in self._parts)

    def read(self, row: int) -> Pixels:
        images, place = self._place(row)
        return images.read(place)

    def read_whole(self, row: int) -> Pixels:
        images, place = self._place(row)
        return images.read_whole(place)

    def _place(self, row: int) -> tuple[Images, int]:
        for images, rows in self._parts:
            if row < len(rows):
                return images, int(rows[row])
            row -= len(rows)
        raise IndexError(row)


def open_images(path: Path, size: int) -> Images:
    """Opens what the cache keeps at `path`, a file of pixels or a folder of tar files."""
    return EncodedImages(path, size) if path.is_dir() else DecodedImages(path)


def shard_name(number: int) -> str:
    """The name of a tar file."""
    return f"{number:06d}.tar"


def fit(image: Image.Image, size: int) -> Image.Image:
    """The middle square of an image, scaled to `size`."""
    if image.size == (size, size):
        return image
    return ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)


def read_batch(images: Images, rows: Sequence[int]) -> Pixels:
    """The images of these rows, uint8 [B, size, size, 3]."""
    return np.stack([images.read(row) for row in rows])
