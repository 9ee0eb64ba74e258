"""Object stores, one file each: `open_store` opens whichever a URL names."""

import os
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from servicekit.errors import InvalidArgument
from servicekit.storage.base import (
    LASTING,
    Entry,
    ObjectStore,
    check_store,
    delete_many,
    get_many,
    to_key,
    to_uri,
)
from servicekit.storage.directory import DirectoryStore
from servicekit.storage.files import ObjectFile, chunks_of, sha256_of_object
from servicekit.storage.kinds import KINDS, Keep, Kind, kind_of
from servicekit.storage.memory import MemoryStore

__all__ = [
    "KINDS",
    "LASTING",
    "DirectoryStore",
    "Entry",
    "Keep",
    "Kind",
    "MemoryStore",
    "ObjectFile",
    "ObjectStore",
    "check_store",
    "chunks_of",
    "delete_many",
    "get_many",
    "kind_of",
    "open_store",
    "sha256_of_object",
    "to_key",
    "to_uri",
]


def open_store(url: str) -> ObjectStore:
    """Opens "file:///FOLDER", "memory:" or "s3://BUCKET?endpoint=HOST:PORT".

    `servicekit.storage.s3_connection.connect` lists the S3 options; the credentials come from
    AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. Raises InvalidArgument.
    """
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path[:1] == "/":
        if parts.query or parts.fragment:
            raise InvalidArgument(
                f"{url!r} is cut off at its ? or #; in a file: URL write them as %3F and %23, "
                "and % as %25",
                field="store",
                reason="BAD_STORE",
            )
        return _open_folder(Path(unquote(parts.path, errors="surrogateescape")))
    if parts.scheme == "memory":
        return MemoryStore()
    if parts.scheme == "s3":
        from servicekit.storage.s3 import S3Store

        options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        return S3Store.from_options(parts.netloc, options, os.environ)
    raise InvalidArgument(
        f"{url!r} is not a store; use file:///FOLDER or s3://BUCKET?endpoint=HOST:PORT",
        field="store",
        reason="BAD_STORE",
    )


def _open_folder(root: Path) -> DirectoryStore:
    try:
        return DirectoryStore(root)
    except OSError as error:
        raise InvalidArgument(
            f"the store's folder {root} cannot be made: {error.strerror or error}; use another, "
            "as file:///FOLDER",
            field="store",
            reason="BAD_STORE",
        ) from error
