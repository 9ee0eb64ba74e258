"""An object store in a folder."""

import errno
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from servicekit.errors import Exhausted, Unavailable
from servicekit.storage.base import check_key, missing


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
