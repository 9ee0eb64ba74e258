"""Decoded images, kept on local disk so that many runs on the same data decode it once.

An entry of the cache is a folder named for the manifest's digest, the image size and the code that
decodes. It holds `images.npy`, uint8 [N, size, size, 3] in the manifest's order, `pixels.json`, the
digest of each image's pixels before resizing, and `lock`, which is held shared while the entry is
in use and exclusively by whoever removes it.
"""

import fcntl
import json
import os
import shutil
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib.format import open_memmap
from PIL import Image, ImageOps

from imaging.decode import ImageRejected, decode_image
from imaging.hashing import pixel_sha256
from servicekit.errors import Cancelled, Exhausted, NotFound, Precondition
from servicekit.storage import ObjectStore, get_many, to_key
from trainer.identity import pixels_digest

_CHUNK = 256
# How often who waits for another run's decoding looks whether it is still wanted.
_PATIENCE_SECONDS = 0.2
_NAMED = 5
_IMAGES, _PIXELS, _LOCK = "images.npy", "pixels.json", "lock"
_HEADER_BYTES, _DIGEST_BYTES = 128, 68


@dataclass(frozen=True)
class CachedImages:
    """`path` is a .npy file, uint8 [N, size, size, 3]; `pixels` the digest of each image."""

    path: Path
    pixels: tuple[str, ...]


class Lease:
    """Keeps entries where they are until it is released, or its process ends."""

    def __init__(self) -> None:
        self._files: list[IO[bytes]] = []
        self._is_given_up = False

    def take(self, entry: Path) -> bool:
        """Holds an entry. Returns False if it does not exist."""
        file = _lock(entry, fcntl.LOCK_SH)
        if file is not None:
            self._files.append(file)
        return file is not None

    def give_up(self) -> None:
        """Ends the decoding for this lease soon, from another thread."""
        self._is_given_up = True

    def check(self) -> None:
        """Raises Cancelled if nobody wants the entries any more."""
        if self._is_given_up:
            raise Cancelled("the run was cancelled")

    def release(self) -> None:
        """Lets go of all entries."""
        for file in self._files:
            file.close()
        self._files.clear()


class ImageCache:
    """Decoded images by manifest, at most `max_bytes` of them. Thread-safe.

    Several processes may share the folder; what one of them has leased no other removes.
    """

    def __init__(self, store: ObjectStore, folder: Path, max_bytes: int) -> None:
        self._store = store
        self._folder = folder
        self._max_bytes = max_bytes
        self._filling = threading.Lock()

    @staticmethod
    def bytes_of(count: int, size: int) -> int:
        """The bytes of an entry of `count` images."""
        return _HEADER_BYTES + count * (3 * size * size + _DIGEST_BYTES)

    def decoded(self, digest: str, uris: Sequence[str], size: int, lease: Lease) -> CachedImages:
        """Returns the images behind `uris`, decoding them unless the cache has `digest`.

        The shorter side is scaled to `size` pixels and the longer cut at both ends. They stay until
        `lease` is released. Raises Precondition naming the images that are missing or cannot be
        decoded, Exhausted if the disk is full, and Cancelled soon after the lease was given up.
        """
        entry = self._folder / f"{digest}-{size}-{pixels_digest()[:8]}"
        while not self._filling.acquire(timeout=_PATIENCE_SECONDS):
            lease.check()
        try:
            while not lease.take(entry):
                self._make_room(self.bytes_of(len(uris), size))
                self._fill(entry, uris, size, lease)
        finally:
            self._filling.release()
        now = time.time_ns()
        os.utime(entry, ns=(now, now))
        pixels = json.loads((entry / _PIXELS).read_text(encoding="utf-8"))
        return CachedImages(entry / _IMAGES, tuple(pixels))

    def _fill(self, entry: Path, uris: Sequence[str], size: int, wanted: Lease) -> None:
        staging, lease = self._folder / f".{uuid.uuid4().hex}", Lease()
        try:
            staging.mkdir(parents=True)
            (staging / _LOCK).touch()
            lease.take(staging)
            images = _allocate(staging / _IMAGES, (len(uris), size, size, 3))
            pixels = self._decode(uris, size, images, wanted)
            images.flush()
            (staging / _PIXELS).write_text(json.dumps(pixels), encoding="utf-8")
            if not entry.exists():  # Another process may have been faster.
                staging.rename(entry)
        except OSError as error:
            raise Exhausted(
                f"the trainer cannot keep decoded images in {self._folder}: "
                f"{error.strerror or error}; make room, or set TRAINER_SCRATCH to a folder with "
                "more, or use a smaller image_size",
                reason="SCRATCH_FULL",
                retry_after=30.0,
            ) from error
        finally:
            lease.release()
            shutil.rmtree(staging, ignore_errors=True)

    def _decode(self, uris: Sequence[str], size: int, into: np.ndarray, wanted: Lease) -> list[str]:
        """Fills `into` and returns the digest of each image."""
        pixels: list[str] = []
        bad: list[str] = []
        for start in range(0, len(uris), _CHUNK):
            wanted.check()
            chunk = uris[start : start + _CHUNK]
            for uri, data in zip(chunk, self._read(chunk), strict=True):
                try:
                    image = decode_image(data, uri)
                except ImageRejected as error:
                    bad.append(error.message)
                    continue
                into[len(pixels)] = np.asarray(_fit(image, size))
                pixels.append(pixel_sha256(image))
        if bad:
            raise _unreadable(bad)
        return pixels

    def _read(self, uris: Sequence[str]) -> list[bytes]:
        try:
            return get_many(self._store, [to_key(uri, "image_uri") for uri in uris])
        except NotFound as error:
            raise Precondition(
                f"the manifest names an image that the store does not have: {error.resource}; "
                "import or generate it again",
                subject=error.resource,
                reason="IMAGE_MISSING",
            ) from error

    def _make_room(self, wanted: int) -> None:
        """Removes what a killed process left, and the entries longest unused until all fits."""
        folders = [path for path in self._folder.glob("*") if path.is_dir()]
        for leftover in [path for path in folders if path.name.startswith(".")]:
            _remove(leftover)
        entries = sorted(
            (path for path in folders if not path.name.startswith(".")),
            key=lambda path: path.stat().st_mtime,
        )
        sizes = {path: sum(file.stat().st_size for file in path.iterdir()) for path in entries}
        total = wanted + sum(sizes.values())
        for path in entries:
            if total > self._max_bytes and _remove(path):
                total -= sizes[path]


def _lock(entry: Path, how: int) -> IO[bytes] | None:
    """Opens an entry's lock and locks it; None if the entry is gone, or locked by others."""
    try:
        file = (entry / _LOCK).open("rb")
    except OSError:
        return None
    try:
        fcntl.flock(file, how)
        if os.path.samestat(os.fstat(file.fileno()), (entry / _LOCK).stat()):
            return file
    except OSError:  # It is in use, or was removed while this waited.
        pass
    file.close()
    return None


def _remove(folder: Path) -> bool:
    """Removes an entry, or an unfinished one, that nobody uses. Returns whether it did."""
    file = _lock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if file is None:
        return False
    with file:
        shutil.rmtree(folder, ignore_errors=True)
    return True


def _allocate(path: Path, shape: tuple[int, ...]) -> np.memmap:
    """A new file of bytes as an array, with its room on the disk taken.

    Writing into a file with holes would kill the process where the disk is full.
    """
    images = open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return images


def _fit(image: Image.Image, size: int) -> Image.Image:
    if image.size == (size, size):
        return image
    return ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)


def _unreadable(bad: Sequence[str]) -> Precondition:
    more = f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
    return Precondition(
        f"{len(bad)} images cannot be decoded: {'; '.join(bad[:_NAMED])}{more}; remove them from "
        "the manifest",
        subject=bad[0],
        reason="IMAGE_UNREADABLE",
    )
