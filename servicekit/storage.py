"""Object stores: where everything that outlives a call is kept.

A put of an existing key is a no-op, so keys are content digests or deterministic ids, and nothing
is ever half-visible. Keys are paths of letters, digits and ``-_.=+@`` joined by "/".
"""

import errno
import os
import re
import threading
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qs, unquote, urlsplit

from servicekit.errors import Exhausted, InvalidArgument, NotFound, Unavailable

_KEY = re.compile(r"[A-Za-z0-9_=+@-][A-Za-z0-9_.=+@-]*(/[A-Za-z0-9_=+@-][A-Za-z0-9_.=+@-]*)*")
_SCHEME = "store:"


class ObjectStore(Protocol):
    """Bytes by key. Thread-safe and synchronous; wrap calls in asyncio.to_thread."""

    def put(self, key: str, data: bytes, *, overwrite: bool = False) -> bool:
        """Stores `data` atomically. Returns False, changing nothing, if the key exists."""

    def get(self, key: str) -> bytes:
        """Returns the bytes. Raises NotFound."""

    def exists(self, key: str) -> bool:
        """Says whether the key exists."""

    def size(self, key: str) -> int:
        """Returns the number of bytes. Raises NotFound."""

    def list(self, prefix: str) -> Iterator[str]:
        """Yields the keys that start with `prefix`, sorted."""

    def delete(self, key: str) -> None:
        """Removes the key; a no-op if it does not exist."""

    def link(self, key: str, seconds: int) -> str:
        """Returns a URL by which whoever has it may read the object, at most 7 days (604,800
        seconds) long; "" from a store that has no such URLs."""


def to_uri(key: str) -> str:
    """Returns the URI of a key, "store:KEY", which holds in any kind of store."""
    return _SCHEME + check_key(key)


def to_key(uri: str, field: str = "uri") -> str:
    """Returns the key of a "store:KEY" URI. Raises InvalidArgument naming `field`."""
    if not uri.startswith(_SCHEME):
        raise InvalidArgument(
            f"{uri!r} is not an object store URI; write store:KEY", field=field, reason="BAD_URI"
        )
    return check_key(uri.removeprefix(_SCHEME), field)


def check_key(key: str, field: str = "key") -> str:
    """Returns the key. Raises InvalidArgument if it could leave the store or break a back end."""
    if not _KEY.fullmatch(key) or len(key) > 900:
        raise InvalidArgument(
            f"{key!r} is not an object key; use letters, digits and -_.=+@ in parts joined by /",
            field=field,
            reason="BAD_KEY",
        )
    return key


def missing(key: str) -> NotFound:
    """Returns the error of a key that does not exist."""
    return NotFound(f"no object {key} in the store", resource=f"store:{key}")


def get_many(store: ObjectStore, keys: Sequence[str], workers: int = 8) -> list[bytes]:
    """Returns the bytes of all keys, in order, reading `workers` at a time."""
    if len(keys) < 2 or workers < 2:
        return [store.get(key) for key in keys]
    with ThreadPoolExecutor(min(workers, len(keys))) as pool:
        return list(pool.map(store.get, keys))


class MemoryStore:
    """A store in memory, for tests of one class."""

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def put(self, key: str, data: bytes, *, overwrite: bool = False) -> bool:
        with self._lock:
            if check_key(key) in self._objects and not overwrite:
                return False
            self._objects[key] = bytes(data)
            return True

    def get(self, key: str) -> bytes:
        try:
            return self._objects[check_key(key)]
        except KeyError:
            raise missing(key) from None

    def exists(self, key: str) -> bool:
        return check_key(key) in self._objects

    def size(self, key: str) -> int:
        return len(self.get(key))

    def list(self, prefix: str) -> Iterator[str]:
        yield from sorted(key for key in self._objects if key.startswith(prefix))

    def delete(self, key: str) -> None:
        self._objects.pop(check_key(key), None)

    def link(self, key: str, seconds: int) -> str:
        return ""


class DirectoryStore:
    """A store in a folder: one file per object, written beside and renamed into place.

    The data reaches the disk before the name does, so a crash leaves either the whole object or
    none. `durable=False` skips that wait for stores that may be thrown away.
    """

    def __init__(self, root: Path, *, durable: bool = True) -> None:
        self._root = Path(root).absolute()
        self._durable = durable
        self._staging = self._root / ".staging"
        self._staging.mkdir(parents=True, exist_ok=True)

    def put(self, key: str, data: bytes, *, overwrite: bool = False) -> bool:
        path = self._path(key)
        if path.exists() and not overwrite:
            return False
        staged = self._staging / uuid.uuid4().hex
        try:
            self._write(staged, data)
            path.parent.mkdir(parents=True, exist_ok=True)
            if overwrite:
                staged.replace(path)
                return True
            return _link(staged, path)
        except OSError as error:
            raise _disk_error(error, key) from error
        finally:
            staged.unlink(missing_ok=True)

    def get(self, key: str) -> bytes:
        try:
            return self._path(key).read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise missing(key) from None
        except OSError as error:
            raise _disk_error(error, key) from error

    def exists(self, key: str) -> bool:
        return self._path(key).is_file()

    def size(self, key: str) -> int:
        try:
            return self._path(key).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            raise missing(key) from None

    def list(self, prefix: str) -> Iterator[str]:
        folder = self._root / (prefix.rpartition("/")[0])
        if not folder.is_dir():
            return
        found = (p.relative_to(self._root).as_posix() for p in folder.rglob("*") if p.is_file())
        yield from sorted(k for k in found if k.startswith(prefix) and not k.startswith(".staging"))

    def delete(self, key: str) -> None:
        self._path(key).unlink(missing_ok=True)

    def link(self, key: str, seconds: int) -> str:
        return ""

    def _path(self, key: str) -> Path:
        return self._root / check_key(key)

    def _write(self, path: Path, data: bytes) -> None:
        with path.open("wb") as file:
            file.write(data)
            if self._durable:
                file.flush()
                os.fsync(file.fileno())


def _link(staged: Path, path: Path) -> bool:
    """Gives the staged file its name; exactly one of several racing writers wins."""
    try:
        os.link(staged, path)
    except FileExistsError:
        return False
    return True


def _disk_error(error: OSError, key: str) -> Exception:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Exhausted(
            f"no space left to store {key}; free some space and run the same command again, "
            "nothing that was finished is lost",
            reason="STORE_FULL",
            retry_after=30.0,
        )
    return Unavailable(
        f"the store cannot be reached for {key}: {error.strerror or error}",
        reason="STORE_UNREACHABLE",
    )


def open_store(url: str) -> ObjectStore:
    """Opens "file:///FOLDER", "memory:" or "s3://BUCKET?endpoint=HOST:PORT".

    `servicekit.s3_connection.connect` lists the S3 options; the credentials come from
    AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. Raises InvalidArgument.
    """
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path[:1] == "/":
        return _open_folder(Path(unquote(parts.path)))
    if parts.scheme == "memory":
        return MemoryStore()
    if parts.scheme == "s3":
        from servicekit.s3 import S3Store

        options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        return S3Store.from_options(parts.netloc, options, os.environ)
    raise InvalidArgument(
        f"{url!r} is not a store; use file:///FOLDER or s3://BUCKET?endpoint=HOST:PORT",
        field="store",
        reason="BAD_STORE",
    )


def check_store(store: ObjectStore) -> None:
    """Raises the ServiceError that keeps the store from being read, such as a missing bucket."""
    with suppress(NotFound):
        store.get("health")  # Nobody puts it there: only the way to it matters.


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
