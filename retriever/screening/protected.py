"""The images of a manifest that must not be copied, as fingerprints kept in the object store."""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa

from imaging.decode import ImageRejected, decode_image
from imaging.fingerprint import (
    HASHES,
    SIDE,
    VERSION,
    Fingerprint,
    fingerprint,
)
from retriever.parquet import from_parquet, to_parquet
from retriever.screening.fingerprints import Prints, ProtectedSet, write_set
from retriever.screening.folders import CachedFolders
from servicekit.errors import InvalidArgument, NotFound, Precondition
from servicekit.storage import ObjectStore, to_key

_PART = 4096
_WORKERS = 8
_CAPACITY = 4


class ProtectedLibrary:
    """Fingerprints manifests, and maps what it made from files of a local folder.

    A manifest is told by its version in the store, so that a call reads nothing but that; one that
    was replaced is read again. Fingerprints are stored in parts, so a slow first time that is
    interrupted goes on where it stopped. Callers who ask for the same manifest at once wait for the
    same work, which a caller that gives up does not stop.
    """

    def __init__(self, store: ObjectStore, cache: Path, *, most_bytes: int) -> None:
        self._store, self._cache = store, cache / "protected"
        self._folders = CachedFolders(self._cache, most_bytes)
        self._sets: OrderedDict[tuple[str, str], asyncio.Task[ProtectedSet]] = OrderedDict()

    async def load(self, manifest_uri: str) -> ProtectedSet:
        """Returns the fingerprints of all splits.

        Raises NotFound or InvalidArgument for a manifest that cannot be used, and Precondition
        naming a protected image that cannot be read: without it the answer would be worth nothing.
        """
        key = to_key(manifest_uri, "protected_manifest_uri")
        version = await asyncio.to_thread(self._store.version, key)
        known = (manifest_uri, version)
        task = self._sets.get(known)
        if task is None or (task.done() and (task.cancelled() or task.exception())):
            work = asyncio.to_thread(self._open, manifest_uri, key)
            task = self._sets[known] = asyncio.create_task(work, name=f"fingerprint {key}")
        self._sets.move_to_end(known)
        while len(self._sets) > _CAPACITY:
            self._sets.popitem(last=False)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Waits for nothing; what is being read is dropped, finished parts stay."""
        for task in self._sets.values():
            task.cancel()
        await asyncio.gather(*self._sets.values(), return_exceptions=True)

    def _open(self, manifest_uri: str, key: str) -> ProtectedSet:
        data = self._store.get(key)
        digest = hashlib.sha256(manifest_uri.encode() + b"\n" + data).hexdigest()
        folder = self._cache / f"v{VERSION}-{digest}"
        while (lease := self._folders.lease(folder.name)) is None:
            uris, splits = _read_manifest(manifest_uri, data)
            prefix = f"fingerprints/v{VERSION}/{digest}"
            parts = (
                _prints(self._part(f"{prefix}/{start:08d}.parquet", uris[start : start + _PART]))
                for start in range(0, len(uris), _PART)
            )
            write_set(folder, uris, splits, parts)
        self._folders.make_room()
        return ProtectedSet(folder, lease)

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
                f"the protected image {uri} cannot be read ({error}); restore it, or import "
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


def _prints(part: pa.Table) -> Prints:
    return Prints(
        [str(value) for value in part["pixel_sha256"].to_pylist()],
        _stack(part, "hashes", "<u8", (-1, HASHES)).astype(np.uint64),
        _stack(part, "thumbnail", "u1", (-1, SIDE, SIDE)).astype(np.uint8),
    )


def _stack(
    part: pa.Table, column: str, kind: str, shape: tuple[int, ...]
) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    joined = b"".join(bytes(value or b"") for value in part[column].to_pylist())
    return np.frombuffer(joined, np.dtype(kind)).reshape(shape)
