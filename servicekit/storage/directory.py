"""An object store in a folder."""

import errno
import os
import stat
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from servicekit.errors import Exhausted, Precondition, ServiceError, Unavailable
from servicekit.storage.base import RENEWED_SECONDS, Entry, check_key, missing

_STAGING = ".staging"
# A file-size limit of the process is a full disk to it.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EROFS, errno.EACCES, errno.EPERM}
_BROKEN = {errno.EIO, errno.ENXIO, errno.ENODEV, errno.EUCLEAN}


class DirectoryStore:
    """A store in a folder: one file per object, written beside and renamed into place.

    The data reaches the disk before the name does, so a crash leaves either the whole object or
    none. `durable=False` skips that wait for stores that may be thrown away.
    """

    def __init__(self, root: Path, *, durable: bool = True) -> None:
        self._root = Path(root).absolute()
        self._durable = durable
        self._staging = self._root / _STAGING
        self._staging.mkdir(parents=True, exist_ok=True)

    @property
    def root(self) -> Path:
        """The folder."""
        return self._root

    def put(self, key: str, data: bytes, *, overwrite: bool = False) -> bool:
        path = self._path(key)
        with self._told(key):
            if not overwrite and self._renew(path):
                return False
            staged = self._staging / uuid.uuid4().hex
            try:
                self._write(staged, [data])
                path.parent.mkdir(parents=True, exist_ok=True)
                if overwrite:
                    staged.replace(path)
                    return True
                return _link(staged, path)
            finally:
                staged.unlink(missing_ok=True)

    def put_chunks(self, key: str, chunks: Callable[[], Iterable[bytes]]) -> None:
        path, staged = self._path(key), self._staging / uuid.uuid4().hex
        with self._told(key):
            try:
                self._write(staged, chunks())
                path.parent.mkdir(parents=True, exist_ok=True)
                staged.replace(path)
            finally:
                staged.unlink(missing_ok=True)

    def get(self, key: str) -> bytes:
        with self._told(key), self._opened(key) as file:
            return file.read()

    def read(self, key: str, start: int, count: int) -> bytes:
        with self._told(key), self._opened(key) as file:
            file.seek(start)
            return file.read(count)

    def exists(self, key: str) -> bool:
        with self._told(key):
            return self._path(key).is_file()

    def size(self, key: str) -> int:
        with self._told(key):
            try:
                return self._facts(key).st_size
            except (FileNotFoundError, NotADirectoryError):
                raise missing(key) from None

    def version(self, key: str) -> str:
        with self._told(key):
            try:
                facts = self._facts(key)
            except (FileNotFoundError, NotADirectoryError):
                raise missing(key) from None
        # Replaced objects are new files, so the inode tells them even within one tick of the clock.
        return f"{facts.st_mtime_ns}-{facts.st_size}-{facts.st_ino}"

    def list(self, prefix: str) -> Iterator[str]:
        folder = self._root / (prefix.rpartition("/")[0])
        if not folder.is_dir():
            return
        with self._told(prefix or "its objects"):
            found = [path.relative_to(self._root).as_posix() for path in _files(folder)]
        yield from sorted(k for k in found if k.startswith(prefix) and not k.startswith(_STAGING))

    def entries(self, prefix: str) -> Iterator[Entry]:
        folder = self._root / (prefix.rpartition("/")[0])
        if not folder.is_dir():
            return
        with self._told(prefix or "its objects"):
            for path in _files(folder):
                key = path.relative_to(self._root).as_posix()
                if key.startswith(prefix) and not key.startswith(_STAGING):
                    facts = _facts_of(path)
                    if facts:
                        yield Entry(key, facts.st_size, facts.st_mtime)

    def renew(self, key: str) -> bool:
        with self._told(key):
            return self._renew(self._path(key))

    def discard(self, key: str, before: float) -> bool:
        path, aside = self._path(key), self._staging / uuid.uuid4().hex
        with self._told(key):
            facts = _facts_of(path)
            if facts is None or facts.st_mtime >= before:
                return False
            # Aside first: nobody can renew it from here on, and who did just now is seen.
            try:
                path.rename(aside)
            except FileNotFoundError:
                return False
            is_old = aside.stat().st_mtime < before
            if not is_old:
                _link(aside, path)
            aside.unlink()
            return is_old

    def discard_halves(self, before: float, *, dry_run: bool) -> tuple[int, int]:
        count = size = 0
        with self._told("half-written objects"):
            for path in _files(self._staging):
                facts = _facts_of(path)
                if facts and facts.st_mtime < before:
                    count, size = count + 1, size + facts.st_size
                    if not dry_run:
                        path.unlink(missing_ok=True)
        return count, size

    def delete(self, key: str) -> None:
        with self._told(key):
            self._path(key).unlink(missing_ok=True)

    def link(self, key: str, seconds: int) -> str:
        return ""

    def _renew(self, path: Path) -> bool:
        facts = _facts_of(path)
        if facts is None:
            return False
        if facts.st_mtime < time.time() - RENEWED_SECONDS:
            try:
                os.utime(path)
            except FileNotFoundError:
                return False
        return True

    @contextmanager
    def _told(self, key: str) -> Iterator[None]:
        """Raises the file system's errors as those of a store."""
        try:
            yield
        except OSError as error:
            raise _disk_error(error, self._root, key) from error

    def _opened(self, key: str) -> BinaryIO:
        path = self._path(key)
        try:
            if not path.is_file():  # A pipe would be waited for.
                raise missing(key)
            return path.open("rb")
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise missing(key) from None

    def _facts(self, key: str) -> os.stat_result:
        facts = self._path(key).stat()
        if not stat.S_ISREG(facts.st_mode):
            raise missing(key)
        return facts

    def _path(self, key: str) -> Path:
        return self._root / check_key(key)

    def _write(self, path: Path, chunks: Iterable[bytes]) -> None:
        with path.open("wb") as file:
            file.writelines(chunks)
            if self._durable:
                file.flush()
                os.fsync(file.fileno())


def _files(folder: Path) -> Iterator[Path]:
    """Yields the files below a folder. Raises OSError for a folder that cannot be read."""
    for place, _, names in os.walk(folder, onerror=_fail_unless_gone):
        yield from (path for name in names if (path := Path(place, name)).is_file())


def _facts_of(path: Path) -> os.stat_result | None:
    """Returns what is known of a file; None if there is none."""
    try:
        facts = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return facts if stat.S_ISREG(facts.st_mode) else None


def _fail_unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):  # Others may delete while this one lists.
        raise error


def _link(staged: Path, path: Path) -> bool:
    """Gives the staged file its name; exactly one of several racing writers wins."""
    try:
        os.link(staged, path)
    except FileExistsError:
        return False
    return True


def _disk_error(error: OSError, root: Path, key: str) -> ServiceError:
    why = error.strerror or str(error)
    again = "run the same command again, nothing that was finished is lost"
    if error.errno in _FULL:
        return Exhausted(
            f"no space left in {root} to store {key} ({why}); free some space there and {again}",
            reason="STORE_FULL",
            retry_after=30.0,
        )
    if error.errno in _REFUSED:
        return Precondition(
            f"{root} refuses {key} ({why}); make it writable for this user and {again}",
            subject=str(root),
            reason="STORE_READ_ONLY",
        )
    if error.errno in _BROKEN:
        return Precondition(
            f"the disk of {root} fails at {key} ({why}); check it and {again}",
            subject=str(root),
            reason="STORE_BROKEN",
        )
    return Unavailable(
        f"the store {root} cannot be reached for {key}: {why}", reason="STORE_UNREACHABLE"
    )
