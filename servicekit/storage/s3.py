"""An object store on any S3 server, through the minio client.

A put is conditional (If-None-Match), so one request both stores and finds out that the key exists;
the server must honour that header, as AWS, MinIO, Ceph and SeaweedFS do. Of two that race to put a
key the server lets one win. Large objects go up in parts, where the last to finish wins: keys are
digests of what they hold, so both wrote the same.
"""

import io
import mimetypes
import random
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from hashlib import md5
from typing import Any, BinaryIO, TypeVar, cast

from minio import Minio
from minio.commonconfig import REPLACE, CopySource

from servicekit.storage.base import RENEWED_SECONDS, Entry, check_key, missing
from servicekit.storage.s3_connection import S3Connection, connect
from servicekit.storage.s3_errors import (
    answer_error,
    is_absent,
    is_passing,
    is_refused,
    neither_there_nor_free,
    translate,
    was_answered,
)

T = TypeVar("T")

# Larger objects are looked for before they are sent, and sent in parts.
_WHOLE = 8 * 2**20
_PART, _PARTS_AT_ONCE = 8 * 2**20, 4
# A server that never answered is likely to be a wrong address, so little patience is lost on it.
_FIRST_PATIENCE = 5.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
# How often an object is stored that is said to exist and is not found.
_CLAIMS = 5


class S3Store:
    """Objects of one bucket, which must exist. Thread-safe.

    All calls share one pool of connections: at most `connections` requests are in flight, further
    ones wait for their turn. Connection errors, bodies cut off in the middle and answers of 5xx or
    429 are tried again after pauses that grow and vary, for `patience` seconds after the server
    was lost. Reading needs no right but to read.
    """

    def __init__(self, connection: S3Connection, bucket: str) -> None:
        self._client: Minio = connection.client
        self._connection = connection
        self._patience = connection.patience
        self._bucket = bucket
        self._has_answered = False

    @classmethod
    def from_options(
        cls, bucket: str, options: Mapping[str, str], environ: Mapping[str, str]
    ) -> "S3Store":
        """Opens a bucket; nothing is sent yet. See `s3_connection.connect` for the options."""
        return cls(connect(bucket, options, environ), bucket)

    def put(self, key: str, data: bytes, *, overwrite: bool = False) -> bool:
        check_key(key)
        if overwrite:
            self._attempt(key, lambda: self._upload(key, data))
            return True
        if len(data) <= _WHOLE:
            # One that was discarded between the two is stored after all.
            for _ in range(_CLAIMS):
                if self._attempt(key, lambda: self._put_new(key, data)):
                    return True
                if self.renew(key):
                    return False
            raise neither_there_nor_free(self._bucket, key)
        if self.renew(key):
            return False
        self._attempt(key, lambda: self._upload(key, data))
        return True

    def put_chunks(self, key: str, chunks: Callable[[], Iterable[bytes]]) -> None:
        check_key(key)
        self._attempt(
            key, lambda: self._send(key, cast(BinaryIO, io.BufferedReader(_Chunks(chunks()))), -1)
        )

    def get(self, key: str) -> bytes:
        return self._attempt(key, lambda: self._read(check_key(key)))

    def read(self, key: str, start: int, count: int) -> bytes:
        return self._attempt(key, lambda: self._read_part(check_key(key), start, count))

    def exists(self, key: str) -> bool:
        return self._find(key) is not None

    def size(self, key: str) -> int:
        return self._facts(key)[0]

    def version(self, key: str) -> str:
        return self._facts(key)[1]

    def list(self, prefix: str) -> Iterator[str]:
        def names() -> list[str]:
            found = self._client.list_objects(self._bucket, prefix=prefix, recursive=True)
            return sorted(str(item.object_name) for item in found)

        yield from self._attempt(prefix, names)

    def entries(self, prefix: str) -> Iterator[Entry]:
        found = self._client.list_objects(self._bucket, prefix=prefix, recursive=True)
        last = ""
        while True:
            try:
                for item in found:
                    last = str(item.object_name)
                    modified = item.last_modified.timestamp() if item.last_modified else time.time()
                    yield Entry(last, int(item.size or 0), modified)
                return
            except GeneratorExit:
                raise
            except Exception as error:
                if not is_passing(error):
                    raise translate(error, self._bucket, prefix) from error
                self._attempt(prefix, lambda: self._client.bucket_exists(self._bucket))
                found = self._client.list_objects(
                    self._bucket, prefix=prefix, recursive=True, start_after=last or None
                )

    def renew(self, key: str) -> bool:
        facts = self._find(key)
        if facts is None:
            return False
        if facts[2] >= time.time() - RENEWED_SECONDS:
            return True
        source = CopySource(self._bucket, check_key(key))

        def copy() -> bool:
            try:
                # S3 takes a copy onto itself only if something of it is replaced.
                self._client.copy_object(
                    self._bucket,
                    key,
                    source,
                    metadata={"Content-Type": _type_of(key)},
                    metadata_directive=REPLACE,
                )
            except Exception as error:
                if is_absent(error):
                    return False
                raise
            return True

        return self._attempt(key, copy)

    def discard(self, key: str, before: float) -> bool:
        facts = self._find(key)
        if facts is None or facts[2] >= before:
            return False
        self.delete(key)
        return True

    def discard_halves(self, before: float, *, dry_run: bool) -> tuple[int, int]:
        return 0, 0  # A rule of the bucket ends uploads that were given up.

    def delete(self, key: str) -> None:
        self._attempt(key, lambda: self._client.remove_object(self._bucket, check_key(key)))

    def link(self, key: str, seconds: int) -> str:
        lasting = timedelta(seconds=seconds)
        return self._client.presigned_get_object(self._bucket, check_key(key), lasting)

    def _put_new(self, key: str, data: bytes) -> bool:
        """Stores the object in one request unless it exists.

        A put whose answer was lost is tried again and may then find its own object: False as well.
        """
        headers = {
            "If-None-Match": "*",
            "Content-Type": _type_of(key),
            "Content-MD5": b64encode(md5(data, usedforsecurity=False).digest()).decode(),
        }
        response = self._connection.send("PUT", key, data, **headers)
        if response.status == 412:
            return False
        if response.status != 200:
            raise answer_error(response)
        return True

    def _upload(self, key: str, data: bytes) -> None:
        self._send(key, io.BytesIO(data), len(data))

    def _send(self, key: str, data: BinaryIO, size: int) -> None:
        """Sends an object in parts; a size of -1 is not known before."""
        self._client.put_object(
            self._bucket,
            key,
            data,
            size,
            content_type=_type_of(key),
            part_size=_PART,
            num_parallel_uploads=_PARTS_AT_ONCE,
        )

    def _read(self, key: str) -> bytes:
        response = self._connection.send("GET", key)
        if response.status != 200:
            raise answer_error(response)
        return response.data

    def _read_part(self, key: str, start: int, count: int) -> bytes:
        ends = f"bytes={start}-{start + count - 1}"
        response = self._connection.send("GET", key, Range=ends)
        if response.status == 416:  # The part begins at the object's end, or after it.
            return b""
        if response.status == 200:  # The server knows no parts, and answered with all.
            return response.data[start : start + count]
        if response.status != 206:
            raise answer_error(response)
        return response.data

    def _facts(self, key: str) -> tuple[int, str, float]:
        found = self._find(key)
        if found is None:
            raise missing(key)
        return found

    def _find(self, key: str) -> tuple[int, str, float] | None:
        """Returns size, version and time of an object; None if there is none."""

        def look() -> tuple[int, str, float] | None:
            try:
                found = self._client.stat_object(self._bucket, check_key(key))
                modified = found.last_modified
                seconds = modified.timestamp() if modified else time.time()
                return int(found.size or 0), f"{found.etag} {modified}", seconds
            except Exception as error:
                if is_absent(error):
                    return None
                if is_refused(error):
                    self._read(key)  # A HEAD has no body to say why; a GET has.
                raise

        return self._attempt(key, look)

    def _attempt(self, key: str, call: Callable[[], T]) -> T:
        """Returns what `call` does, tried again while that may help. Raises ServiceError."""
        began, pause = time.monotonic(), _FIRST_PAUSE
        while True:
            try:
                result = call()
            except Exception as error:
                self._has_answered = self._has_answered or was_answered(error)
                patience = self._patience if self._has_answered else _FIRST_PATIENCE
                spent = time.monotonic() - began
                if not is_passing(error) or spent + pause > min(patience, self._patience):
                    raise translate(error, self._bucket, key) from error
            else:
                self._has_answered = True
                return result
            # Those who lost the server together shall not come back together.
            time.sleep(random.uniform(pause / 2, pause))
            pause = min(pause * 2, _LONGEST_PAUSE)


class _Chunks(io.RawIOBase):
    """Reads chunks of bytes as one file."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks, self._left = iter(chunks), b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._left = chunk
        count = min(len(buffer), len(self._left))
        buffer[:count], self._left = self._left[:count], self._left[count:]
        return count


def _type_of(key: str) -> str:
    return mimetypes.guess_type(key)[0] or "application/octet-stream"
