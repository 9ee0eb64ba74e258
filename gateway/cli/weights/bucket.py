"""Models of an S3 server: s3://BUCKET/PREFIX?endpoint=HOST:PORT, options as for the store.

What the files should be is said by the object SHA256SUMS beside them, or by the list.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import parse_qs, unquote, urlsplit

import urllib3

from gateway.cli.weights.base import SUMS, Listing, RemoteFile, is_wanted
from servicekit.errors import InvalidArgument, NotFound
from servicekit.storage.s3_connection import connect
from servicekit.storage.s3_errors import translate

SCHEME = "s3:"
# As the program sha256sum writes them.
_LINE = re.compile(r"([0-9a-f]{64}) [ *](?:\./)?(.+)")
_BLOCK = 2**20


class BucketSource:
    """The objects below a prefix of a bucket."""

    def __init__(self, text: str, environ: Mapping[str, str] = os.environ) -> None:
        parts = urlsplit(text)
        self._bucket, self._prefix = parts.netloc, unquote(parts.path).strip("/")
        if not self._prefix:
            raise InvalidArgument(
                f"the source {text!r} names no prefix; write s3://BUCKET/PREFIX?endpoint=HOST:PORT",
                field="source",
                reason="BAD_SOURCE",
            )
        options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        self._client = connect(self._bucket, options, environ).client

    def listing(self, patterns: tuple[str, ...]) -> Listing:
        above = f"{self._prefix}/"
        try:
            found = self._client.list_objects(self._bucket, prefix=above, recursive=True)
            sizes = {str(one.object_name).removeprefix(above): int(one.size or 0) for one in found}
        except Exception as error:
            raise translate(error, self._bucket, above) from error
        if not sizes:
            raise NotFound(
                f"there is nothing below {self._prefix}/ in the bucket {self._bucket}; correct the "
                "source in the list",
                resource=self._prefix,
                reason="MODEL_MISSING",
            )
        sums = self._sums() if SUMS in sizes else {}
        for name in sums:  # It was not uploaded whole, or is not yet.
            if is_wanted(name, patterns) and name not in sizes:
                raise NotFound(
                    f"{SUMS} in {self._prefix} names {name}, which is not there; upload it",
                    resource=name,
                    reason="FILE_MISSING",
                )
        wanted = sorted(name for name in sizes if is_wanted(name, patterns))
        return Listing(tuple(RemoteFile(name, sizes[name], sums.get(name, "")) for name in wanted))

    @contextmanager
    def read(self, file: RemoteFile, start: int) -> Iterator[tuple[int, Iterator[bytes]]]:
        key = f"{self._prefix}/{file.name}"
        try:
            answer = self._client.get_object(self._bucket, key, offset=start)
        except Exception as error:
            raise translate(error, self._bucket, key) from error
        try:
            yield start if answer.status == 206 else 0, self._blocks(answer, key)
        finally:
            answer.close()

    def _blocks(self, answer: urllib3.BaseHTTPResponse, key: str) -> Iterator[bytes]:
        try:
            yield from answer.stream(_BLOCK)
        except urllib3.exceptions.HTTPError as error:
            raise translate(error, self._bucket, key) from error

    def _sums(self) -> dict[str, str]:
        with self.read(RemoteFile(SUMS, 0), 0) as (_, blocks):
            text = b"".join(blocks).decode(errors="replace")
        return {line[2]: line[1] for line in map(_LINE.fullmatch, text.splitlines()) if line}
