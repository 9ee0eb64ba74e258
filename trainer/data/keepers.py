"""Keeps images in an entry of the cache: small sets as pixels, larger ones as encoded files."""

import io
import os
import tarfile
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.lib.format import open_memmap
from PIL import Image

from imaging.decode import Decoded
from trainer.data.images import INDEX, PIXELS, fit, shard_name

# Up to so many bytes of pixels are kept as they are: they are read from memory, and need no
# processor time.
DECODED_BYTES = 512 * 1024 * 1024
_SHARD_BYTES = 1024 * 1024 * 1024
# A file of more pixels than so many of its squares is not worth being decoded in every pass.
_LARGEST_SCALE = 4
# A picture that is kept whole is scaled down to so many squares, about what 256 is to 224, and of
# one that is longer than so many times its width the middle is kept.
_WHOLE_SCALE, _LONGEST = 2, 8
_BLOCK = tarfile.BLOCKSIZE
_NPY_HEADER, _INDEX_ROW = 128, 24


class Keeper(Protocol):
    """Takes images in order. `prepared` may be called from any thread, and in any order."""

    def prepared(self, data: bytes, decoded: Decoded, is_whole: bool) -> Any:
        """What `add` is to keep of a file and of the image that it holds: all, or its square."""

    def add(self, prepared: Any) -> None:
        """Keeps the next image."""

    def close(self) -> None:
        """Ends the writing, in whichever state it is."""


def keeper(folder: Path, count: int, size: int, has_whole: bool) -> Keeper:
    """What keeps `count` images of a size in a folder, or some of them whole."""
    kind = PixelKeeper if is_kept_decoded(count, size) and not has_whole else ShardKeeper
    return kind(folder, count, size)


def is_kept_decoded(count: int, size: int) -> bool:
    """Whether so many images of a size are kept as pixels."""
    return count * 3 * size * size <= DECODED_BYTES


def bytes_of(count: int, size: int, has_whole: bool) -> int:
    """The bytes that a keeper takes for `count` images of a size, or whole ones, at most."""
    square = 3 * size * size
    if is_kept_decoded(count, size) and not has_whole:
        return _NPY_HEADER + count * square
    # A PNG that cannot be compressed has a byte more for each row of pixels, and its headers.
    pixels, rows = (_WHOLE_SCALE * square, 4 * size) if has_whole else (square, size)
    largest = pixels + rows + pixels // 500 + 300
    each = 2 * _BLOCK + largest + _INDEX_ROW
    return _NPY_HEADER + count * each + 2 * _BLOCK * (1 + count * each // _SHARD_BYTES)


class PixelKeeper:
    """Keeps the pixels of all images in one file, for `DecodedImages`."""

    def __init__(self, folder: Path, count: int, size: int) -> None:
        self._size = size
        self._next = 0
        self._pixels = _allocate(folder / PIXELS, (count, size, size, 3))

    def prepared(self, data: bytes, decoded: Decoded, is_whole: bool) -> Any:
        return np.asarray(fit(decoded.image, self._size))

    def add(self, prepared: Any) -> None:
        self._pixels[self._next] = prepared
        self._next += 1

    def close(self) -> None:
        self._pixels.flush()


class ShardKeeper:
    """Keeps encoded files in tar files, as WebDataset does, with an index for `EncodedImages`.

    A file that is small enough stays as it is. Of others the square is kept, or the whole scaled
    down, without loss, which takes less room and less time in every pass.
    """

    def __init__(self, folder: Path, count: int, size: int) -> None:
        self._folder = folder
        self._size = size
        self._next = self._shard = 0
        self._index = _allocate(folder / INDEX, (count, 3), np.int64)
        self._file: IO[bytes] = (folder / shard_name(0)).open("wb")

    def prepared(self, data: bytes, decoded: Decoded, is_whole: bool) -> Any:
        image, square = decoded.image, self._size**2
        most = 3 * square * (_WHOLE_SCALE if is_whole else 1)
        if image.width * image.height <= _LARGEST_SCALE * square and len(data) <= most:
            return data, decoded.suffix
        buffer = io.BytesIO()
        kept = _whole(image, _WHOLE_SCALE * square) if is_whole else fit(image, self._size)
        kept.save(buffer, "PNG", compress_level=1)
        return buffer.getvalue(), "png"

    def add(self, prepared: Any) -> None:
        data, suffix = prepared
        if self._file.tell() >= _SHARD_BYTES:
            self._end_shard()
            self._shard += 1
            self._file = (self._folder / shard_name(self._shard)).open("wb")
        info = tarfile.TarInfo(f"{self._next:09d}.{suffix}")
        info.size = len(data)
        self._file.write(info.tobuf(tarfile.USTAR_FORMAT))
        self._index[self._next] = self._shard, self._file.tell(), len(data)
        self._file.write(data + bytes(-len(data) % _BLOCK))
        self._next += 1

    def close(self) -> None:
        self._end_shard()
        self._index.flush()

    def _end_shard(self) -> None:
        with self._file as file:
            file.write(bytes(2 * _BLOCK))


def _whole(image: Image.Image, most: int) -> Image.Image:
    """The image with at most so many pixels, and not longer than `_LONGEST` times its width."""
    width, height = image.size
    longest = _LONGEST * min(width, height)
    left, top = max(0, width - longest) // 2, max(0, height - longest) // 2
    box = (left, top, left + min(width, longest), top + min(height, longest))
    width, height = box[2] - left, box[3] - top
    scale = min(1.0, (most / (width * height)) ** 0.5)
    size = (max(1, int(width * scale)), max(1, int(height * scale)))
    return image.resize(size, Image.Resampling.BICUBIC, box)


def _allocate(path: Path, shape: tuple[int, ...], dtype: Any = np.uint8) -> np.memmap:
    """A new file of bytes as an array, with its room on the disk taken.

    Writing into a file with holes would kill the process where the disk is full.
    """
    images = open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return images
