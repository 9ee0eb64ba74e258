"""Folders of a local cache that make room for each other: those unused longest go first."""

import fcntl
import logging
import os
import shutil
import time
import uuid
import weakref
from contextlib import suppress
from pathlib import Path

# Folders that are being written or removed begin with it.
STAGED = "."
# So long after its last use a folder stays whatever its size: who wrote it is about to open it.
_SPARED, _DAY = 60.0, 86_400.0

_log = logging.getLogger(__name__)


class Lease:
    """Keeps a folder where it is while the lease is referred to, also from other processes."""

    def __init__(self, folder: Path, descriptor: int) -> None:
        self.folder = folder
        # The lock is that of the open folder, so it ends with the process at the latest.
        weakref.finalize(self, os.close, descriptor)


class CachedFolders:
    """The folders below `root`, of `most_bytes` in all, apart from those that are in use.

    A folder that is in use is locked (flock, shared), and its time is that of its last use. One
    that is removed is locked by the process that removes it and renamed first, so it is there whole
    or not at all.
    """

    def __init__(self, root: Path, most_bytes: int) -> None:
        self._root, self._most = root, most_bytes

    def lease(self, name: str) -> Lease | None:
        """Returns a folder, to be used while the lease is held; None if there is none."""
        folder = self._root / name
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            return None
        lease = Lease(folder, descriptor)
        with suppress(OSError):  # Where the file system has no locks, what is mapped stays valid.
            fcntl.flock(descriptor, fcntl.LOCK_SH)  # Waits for nothing longer than a rename.
        if not _is_there(folder, descriptor):
            return None
        os.utime(descriptor)
        return lease

    def make_room(self) -> None:
        """Removes what was unused longest, until the rest fits, and what killed processes left."""
        now, room, found = time.time(), self._most, []
        for folder in filter(Path.is_dir, self._root.iterdir()):
            with suppress(FileNotFoundError):  # Another process removes it.
                found.append((folder.stat().st_mtime, _size(folder), folder))
        for used, size, folder in sorted(found, reverse=True):
            if folder.name.startswith(STAGED):
                if now - used > _DAY:
                    shutil.rmtree(folder, ignore_errors=True)
                continue
            room -= size
            if room < 0 and now - used > _SPARED and self._remove(folder):
                room += size
                _log.info("evicted", extra={"fields": {"folder": str(folder), "bytes": size}})

    def _remove(self, folder: Path) -> bool:
        """Removes a folder unless it is in use. Says whether it is gone."""
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _is_there(folder, descriptor):
                return True
            gone = self._root / f"{STAGED}{uuid.uuid4().hex}"
            folder.rename(gone)
        except BlockingIOError:
            return False
        except OSError as error:
            _log.warning("%s cannot be removed from the cache: %s", folder, error)
            return False
        finally:
            os.close(descriptor)
        shutil.rmtree(gone, ignore_errors=True)
        return True


def _is_there(folder: Path, descriptor: int) -> bool:
    """Says whether an open folder still has its name."""
    try:
        return os.path.samestat(folder.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())
