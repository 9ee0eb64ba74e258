"""Decoded images, kept on local disk so that many runs on the same data decode it once.

An entry of the cache is a folder named for the manifest's digest and the image size. It holds
`images.npy`, uint8 [N, size, size, 3] in the manifest's order, and `pixels.json`, the digest of
each image's pixels before resizing.
"""

import json
import os
import shutil
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from PIL import Image, ImageOps

from imaging.decode import ImageRejected, decode_image
from imaging.hashing import pixel_sha256
from servicekit.errors import NotFound, Precondition
from servicekit.storage import ObjectStore, get_many, to_key

_CHUNK = 256
_NAMED = 5


@dataclass(frozen=True)
class DecodedImages:
    """`path` is a .npy file, uint8 [N, size, size, 3]; `pixels` the digest of each image."""

    path: Path
    pixels: tuple[str, ...]


class ImageCache:
    """Decoded images by manifest, at most `max_bytes` of them. Thread-safe."""

    def __init__(self, store: ObjectStore, folder: Path, max_bytes: int) -> None:
        self._store = store
        self._folder = folder
        self._max_bytes = max_bytes
        self._lock = threading.Lock()

    def decoded(self, digest: str, uris: Sequence[str], size: int) -> DecodedImages:
        """Returns the images behind `uris`, decoding them unless the cache has `digest`.

        The shorter side is scaled to `size` pixels and the longer cut at both ends. Raises
        Precondition naming the images that are missing or cannot be decoded.
        """
        entry = self._folder / f"{digest}-{size}"
        with self._lock:
            if not entry.is_dir():
                self._fill(entry, uris, size)
                self._evict(keep=entry)
            now = time.time_ns()
            os.utime(entry, ns=(now, now))
            pixels = json.loads((entry / "pixels.json").read_text(encoding="utf-8"))
        return DecodedImages(entry / "images.npy", tuple(pixels))

    def _fill(self, entry: Path, uris: Sequence[str], size: int) -> None:
        staging = self._folder / f".{uuid.uuid4().hex}"
        staging.mkdir(parents=True)
        try:
            shape = (len(uris), size, size, 3)
            images = open_memmap(staging / "images.npy", mode="w+", dtype=np.uint8, shape=shape)
            pixels: list[str] = []
            bad: list[str] = []
            for start in range(0, len(uris), _CHUNK):
                chunk = uris[start : start + _CHUNK]
                for uri, data in zip(chunk, self._read(chunk), strict=True):
                    try:
                        image = decode_image(data, uri)
                    except ImageRejected as error:
                        bad.append(error.message)
                        continue
                    images[len(pixels)] = np.asarray(_fit(image, size))
                    pixels.append(pixel_sha256(image))
            if bad:
                raise _unreadable(bad)
            images.flush()
            (staging / "pixels.json").write_text(json.dumps(pixels), encoding="utf-8")
            staging.rename(entry)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

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

    def _evict(self, keep: Path) -> None:
        """Removes the entries longest unused until the rest fits."""
        entries = sorted(self._folder.glob("*-*"), key=lambda path: path.stat().st_mtime)
        sizes = {path: sum(file.stat().st_size for file in path.iterdir()) for path in entries}
        total = sum(sizes.values())
        for path in entries:
            if total > self._max_bytes and path != keep:
                shutil.rmtree(path, ignore_errors=True)
                total -= sizes[path]


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
