"""Fingerprints of many images in files of a local folder, mapped and looked up without a scan.

A folder holds numpy arrays by name, and `images.arrow` with the images' URIs and splits.
"""

import shutil
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from imaging.copies import CopyIndex
from imaging.fingerprint import HASHES, SIDE, Hashes, Thumbnail
from imaging.likeness_bound import SIZES, least_lengths
from imaging.multi_index import MultiIndex
from retriever.screening.folders import STAGED, Lease

_IMAGES = "images.arrow"


@dataclass(frozen=True)
class ProtectedImage:
    """A protected image that a candidate copies."""

    image_uri: str
    split: str


@dataclass(frozen=True)
class Prints:
    """Some fingerprints in order: `hashes` [n, 19], `thumbnails` [n, 32, 32], `pixels` in hex."""

    pixels: list[str]
    hashes: Hashes
    thumbnails: Thumbnail


class ProtectedSet:
    """The fingerprints of n images, mapped from the files of a folder. Thread-safe.

    It holds `lease`, if the folder is one that might be removed otherwise.
    """

    def __init__(self, folder: Path, lease: Lease | None = None) -> None:
        self._lease = lease
        arrays = {path.stem: np.load(path, mmap_mode="r") for path in folder.glob("*.npy")}
        self._pixels: NDArray[np.uint8] = arrays.pop("pixels")
        self._pixel_keys: NDArray[np.uint64] = arrays.pop("pixel_keys")
        self._pixel_rows: NDArray[np.int64] = arrays.pop("pixel_rows")
        thumbnails, lengths = arrays.pop("thumbnails"), arrays.pop("lengths")
        self.copies = CopyIndex(MultiIndex.of_arrays(arrays), thumbnails, lengths)
        with pa.memory_map(str(folder / _IMAGES)) as file:
            self._images = pa.ipc.open_file(file).read_all()

    def __len__(self) -> int:
        return len(self._pixels)

    def exact(self, pixel_sha256: str) -> int | None:
        """Returns the first row with these pixels; None if there is none."""
        wanted = np.frombuffer(bytes.fromhex(pixel_sha256), np.uint8)
        key = wanted[:8].view(">u8")[0]
        place = int(np.searchsorted(self._pixel_keys, key))
        while place < len(self) and self._pixel_keys[place] == key:
            row = int(self._pixel_rows[place])
            if np.array_equal(self._pixels[row], wanted):
                return row
            place += 1
        return None

    def image(self, row: int) -> ProtectedImage:
        """Returns the image of a row."""
        uri, split = (self._images[name][row].as_py() for name in ("image_uri", "split"))
        return ProtectedImage(uri, split)


def write_set(folder: Path, uris: list[str], splits: list[str], parts: Iterable[Prints]) -> None:
    """Writes the files of a set, beside and then renamed; a folder that is there stays.

    `parts` are the fingerprints of all images in order, some at a time.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = folder.parent / f"{STAGED}{uuid.uuid4().hex}"
    staging.mkdir()
    try:
        _write_prints(staging, len(uris), parts)
        table = pa.table({"image_uri": uris, "split": splits})
        with pa.ipc.new_file(str(staging / _IMAGES), table.schema) as writer:
            writer.write_table(table)
        try:
            staging.rename(folder)
        except OSError:
            if not folder.is_dir():  # Another process may have been faster.
                raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _write_prints(folder: Path, count: int, parts: Iterable[Prints]) -> None:
    thumbnails = open_memmap(folder / "thumbnails.npy", "w+", np.uint8, (count, SIDE, SIDE))
    pixels = np.zeros((count, 32), np.uint8)
    hashes = np.zeros((count, HASHES), np.uint64)
    lengths = np.zeros((count, SIZES), np.float32)
    start = 0
    for part in parts:
        rows = slice(start, start + len(part.pixels))
        thumbnails[rows], hashes[rows] = part.thumbnails, part.hashes
        lengths[rows] = least_lengths(part.thumbnails)
        joined = bytes.fromhex("".join(part.pixels))
        pixels[rows] = np.frombuffer(joined, np.uint8).reshape(-1, 32)
        start = rows.stop
    thumbnails.flush()
    keys = pixels[:, :8].copy().view(">u8")[:, 0].astype(np.uint64)
    order = np.argsort(keys, kind="stable")  # The first of equal rows is found first.
    arrays = MultiIndex.build(hashes.ravel()).arrays()
    arrays |= {"pixels": pixels, "pixel_keys": keys[order], "pixel_rows": order}
    arrays["lengths"] = lengths
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
