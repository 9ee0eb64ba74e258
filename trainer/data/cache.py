"""Images kept on local disk, so that many runs on the same data fetch and check them once.

An entry of the cache is a folder named for the manifest's digest, the image size and the code that
decodes. It holds the images in the manifest's order, as `keepers` keeps them, `digests.npy`, the
digest of each image's pixels before resizing, and the lock of `leases`.
"""

import os
import shutil
import threading
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from imaging.decode import ImageRejected, decode
from imaging.hashing import pixel_sha256
from servicekit.errors import Exhausted, NotFound, Precondition
from servicekit.storage import ObjectStore, get_many, to_key
from trainer.data import keepers
from trainer.data.images import PIXELS
from trainer.data.leases import LOCK, Lease, remove
from trainer.identity import pixels_digest

_CHUNK = 64
# Threads that decode: pillow lets others work meanwhile, and the server has more to do.
_THREADS = 4
# How often who waits for another run's decoding looks whether it is still wanted.
_PATIENCE_SECONDS = 0.2
_NAMED = 5
_DIGESTS = "digests.npy"
_HEADER_BYTES, _DIGEST_BYTES = 128, 32


@dataclass(frozen=True)
class CachedImages:
    """`path` is what `images.open_images` reads; `pixels` the digest of each image's pixels,
    binary[32]."""

    path: Path
    pixels: Any


class ImageCache:
    """Images by manifest, at most `max_bytes` of them. Thread-safe.

    Several processes may share the folder; what one of them has leased no other removes.
    """

    def __init__(self, store: ObjectStore, folder: Path, max_bytes: int) -> None:
        self._store = store
        self._folder = folder
        self._max_bytes = max_bytes
        self._filling = threading.Lock()

    @staticmethod
    def bytes_of(count: int, size: int, has_whole: bool = False) -> int:
        """The bytes of an entry of `count` images, or of some whole ones, at most."""
        return keepers.bytes_of(count, size, has_whole) + _HEADER_BYTES + count * _DIGEST_BYTES

    def cached(
        self,
        digest: str,
        uris: Sequence[str],
        size: int,
        lease: Lease,
        whole: NDArray[np.bool_] | None = None,
    ) -> CachedImages:
        """Returns the images behind `uris`, decoding them unless the cache has `digest`.

        The shorter side is scaled to `size` pixels and the longer cut at both ends. `whole`, which
        has to follow from the digest, says of which the rest is kept as well, [N]. They stay until
        `lease` is released. Raises Precondition naming the images that are missing or cannot be
        decoded, Exhausted if the disk is full, and Cancelled soon after the lease was given up.
        """
        kind = "" if whole is None else "-whole"
        entry = self._folder / f"{digest}-{size}{kind}-{pixels_digest()[:8]}"
        while not self._filling.acquire(timeout=_PATIENCE_SECONDS):
            lease.check()
        try:
            while not lease.take(entry):
                self._make_room(self.bytes_of(len(uris), size, whole is not None))
                self._fill(entry, uris, size, lease, whole)
        finally:
            self._filling.release()
        now = time.time_ns()
        os.utime(entry, ns=(now, now))
        digests = np.load(entry / _DIGESTS)
        pixels = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(_DIGEST_BYTES), len(digests), [None, pa.py_buffer(digests)]
        )
        return CachedImages(entry / PIXELS if (entry / PIXELS).exists() else entry, pixels)

    def _fill(
        self,
        entry: Path,
        uris: Sequence[str],
        size: int,
        wanted: Lease,
        whole: NDArray[np.bool_] | None,
    ) -> None:
        staging, lease = self._folder / f".{uuid.uuid4().hex}", Lease()
        try:
            staging.mkdir(parents=True)
            (staging / LOCK).touch()
            lease.take(staging)
            np.save(staging / _DIGESTS, self._decode(uris, size, staging, wanted, whole))
            if not entry.exists():  # Another process may have been faster.
                staging.rename(entry)
        except OSError as error:
            raise Exhausted(
                f"the trainer cannot keep images in {self._folder}: "
                f"{error.strerror or error}; make room, or set TRAINER_SCRATCH to a folder with "
                "more, or use a smaller image_size",
                reason="SCRATCH_FULL",
                retry_after=30.0,
            ) from error
        finally:
            lease.release()
            shutil.rmtree(staging, ignore_errors=True)

    def _decode(
        self,
        uris: Sequence[str],
        size: int,
        folder: Path,
        wanted: Lease,
        whole: NDArray[np.bool_] | None,
    ) -> np.ndarray:
        """Keeps the images in `folder` and returns the digests, uint8 [N, 32]."""
        digests = np.empty((len(uris), _DIGEST_BYTES), np.uint8)
        keeper = keepers.keeper(folder, len(uris), size, whole is not None)
        kinds = np.zeros(len(uris), np.bool_) if whole is None else whole
        bad: list[str] = []
        count = 0
        with closing(keeper), ThreadPoolExecutor(_THREADS, "decode") as pool:
            for start in range(0, len(uris), _CHUNK):
                wanted.check()
                chunk = uris[start : start + _CHUNK]
                prepare = partial(_prepared, keeper)
                parts = kinds[start : start + _CHUNK].tolist()
                for prepared in pool.map(prepare, chunk, self._read(chunk), parts):
                    if isinstance(prepared, ImageRejected):
                        bad.append(prepared.message)
                    elif not bad:
                        keeper.add(prepared[0])
                        digests[count] = np.frombuffer(prepared[1], np.uint8)
                        count += 1
        if bad:
            raise _unreadable(bad)
        return digests

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
            remove(leftover)
        entries = sorted(
            (path for path in folders if not path.name.startswith(".")),
            key=lambda path: path.stat().st_mtime,
        )
        sizes = {path: sum(file.stat().st_size for file in path.iterdir()) for path in entries}
        total = wanted + sum(sizes.values())
        for path in entries:
            if total > self._max_bytes and remove(path):
                total -= sizes[path]


def _prepared(
    keeper: keepers.Keeper, uri: str, data: bytes, is_whole: bool
) -> tuple[Any, bytes] | ImageRejected:
    """What to keep of a file, and the digest of its pixels; or why it cannot be read."""
    try:
        decoded = decode(data, uri)
    except ImageRejected as error:
        return error
    return keeper.prepared(data, decoded, is_whole), bytes.fromhex(pixel_sha256(decoded.image))


def _unreadable(bad: Sequence[str]) -> Precondition:
    more = f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
    return Precondition(
        f"{len(bad)} images cannot be decoded: {'; '.join(bad[:_NAMED])}{more}; remove them from "
        "the manifest",
        subject=bad[0],
        reason="IMAGE_UNREADABLE",
    )
