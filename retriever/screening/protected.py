"""The images of a manifest that must not be copied, as fingerprints kept in the object store."""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from imaging.decode import ImageRejected, decode_image
from retriever.parquet import from_parquet, to_parquet
from retriever.screening.fingerprint import (
    SIDE,
    VERSION,
    Fingerprint,
    Hashes,
    Thumbnail,
    fingerprint,
)
from servicekit.errors import InvalidArgument, NotFound, Precondition
from servicekit.storage import ObjectStore, to_key

_PART = 4096
_WORKERS = 8
_CAPACITY = 4


@dataclass(frozen=True)
class ProtectedImage:
    """A protected image that a candidate copies."""

    image_uri: str
    split: str


@dataclass(frozen=True)
class ProtectedSet:
    """Fingerprints of n images: `hashes` uint64 [n, 19], `thumbnails` uint8 [n, 32, 32]."""

    uris: tuple[str, ...]
    splits: tuple[str, ...]
    by_pixels: dict[str, int]
    hashes: Hashes
    thumbnails: Thumbnail

    def image(self, row: int) -> ProtectedImage:
        return ProtectedImage(self.uris[row], self.splits[row])


class ProtectedLibrary:
    """Fingerprints manifests. A manifest is told by its URI and the digest of its content.

    Fingerprints are stored in parts, so a slow first time that is interrupted goes on where it
    stopped. Callers who ask for the same manifest at once wait for the same work, which a caller
    that gives up does not stop.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._sets: OrderedDict[str, asyncio.Task[ProtectedSet]] = OrderedDict()

    async def load(self, manifest_uri: str) -> ProtectedSet:
        """Returns the fingerprints of all splits.

        Raises NotFound or InvalidArgument for a manifest that cannot be used, and Precondition
        naming a protected image that cannot be read: without it the answer would be worth nothing.
        """
        key = to_key(manifest_uri, "protected_manifest_uri")
        # Read every time: a manifest that was replaced must not be judged by old fingerprints.
        data = await asyncio.to_thread(self._store.get, key)
        digest = hashlib.sha256(manifest_uri.encode() + b"\n" + data).hexdigest()
        task = self._sets.get(digest)
        if task is None or (task.done() and (task.cancelled() or task.exception())):
            work = asyncio.to_thread(self._fingerprint, manifest_uri, data, digest)
            task = self._sets[digest] = asyncio.create_task(work, name=f"fingerprint {key}")
        self._sets.move_to_end(digest)
        while len(self._sets) > _CAPACITY:
            self._sets.popitem(last=False)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Waits for nothing; what is being read is dropped, finished parts stay."""
        for task in self._sets.values():
            task.cancel()
        await asyncio.gather(*self._sets.values(), return_exceptions=True)

    def _fingerprint(self, manifest_uri: str, data: bytes, digest: str) -> ProtectedSet:
        uris, splits = _read_manifest(manifest_uri, data)
        prefix = f"fingerprints/v{VERSION}/{digest}"
        parts = [
            self._part(f"{prefix}/{start:08d}.parquet", uris[start : start + _PART])
            for start in range(0, len(uris), _PART)
        ]
        pixels = [value for table in parts for value in table["pixel_sha256"].to_pylist()]
        # The first row wins, so an image of the earlier split is named.
        by_pixels = {value: row for row, value in reversed(list(enumerate(pixels)))}
        return ProtectedSet(
            uris=tuple(uris),
            splits=tuple(splits),
            by_pixels=by_pixels,
            hashes=_stack(parts, "hashes", "<u8", (-1, 19)).astype(np.uint64),
            thumbnails=_stack(parts, "thumbnail", "u1", (-1, SIDE, SIDE)).astype(np.uint8),
        )

    def _part(self, key: str, uris: Sequence[str]) -> pa.Table:
        if self._store.exists(key):
            return from_parquet(self._store.get(key))
        with ThreadPoolExecutor(_WORKERS) as threads:
            prints = list(threads.map(self._read, uris))
        table = pa.table(
            {
                "pixel_sha256": [one.pixel_sha256 for one in prints],
                "hashes": [one.hashes.astype("<u8").tobytes() for one in prints],
                "thumbnail": [one.thumbnail.tobytes() for one in prints],
            }
        )
        self._store.put(key, to_parquet(table))
        return table

    def _read(self, uri: str) -> Fingerprint:
        try:
            return fingerprint(decode_image(self._store.get(to_key(uri, "image_uri")), uri))
        except (NotFound, ImageRejected) as error:
            raise Precondition(
                f"the protected image {uri} cannot be read ({error}); mend the dataset, or import "
                "it again",
                subject=uri,
                reason="PROTECTED_IMAGE_UNREADABLE",
            ) from error


def _read_manifest(uri: str, data: bytes) -> tuple[list[str], list[str]]:
    """Returns image URIs and splits of a manifest."""
    try:
        table = from_parquet(data)
    except pa.ArrowException as error:
        raise _bad_manifest(f"{uri} is not a parquet file: {error}") from error
    missing = {"image_uri", "split"} - set(table.column_names)
    if missing:
        raise _bad_manifest(
            f"{uri} is not a dataset manifest: it has no column {' or '.join(sorted(missing))}"
        )
    uris, splits = (table[name].to_pylist() for name in ("image_uri", "split"))
    return [str(uri) for uri in uris], [str(split) for split in splits]


def _bad_manifest(message: str) -> InvalidArgument:
    return InvalidArgument(message, field="protected_manifest_uri", reason="BAD_MANIFEST")


def _stack(
    parts: Sequence[pa.Table], column: str, kind: str, shape: tuple[int, ...]
) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    joined = b"".join(bytes(value or b"") for table in parts for value in table[column].to_pylist())
    return np.frombuffer(joined, np.dtype(kind)).reshape(shape)
