"""Opens files of other people: regular ones only, and waits for none."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

_SPECIAL = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
# A pipe would be waited for, and a terminal would become this process's own.
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


def special_kind(mode: int) -> str:
    """Returns what an `st_mode` says it is, such as "a named pipe"; "" for files and folders."""
    return next((name for is_kind, name in _SPECIAL if is_kind(mode)), "")


def open_regular(path: Path) -> BinaryIO:
    """Opens a regular file for reading, links followed.

    Raises OSError for everything else, at once: a pipe, a socket or a device is never waited for,
    nor is one that took the file's place since somebody looked.
    """
    _check(path.stat().st_mode, path)
    descriptor = os.open(path, _FLAGS)
    try:
        _check(os.fstat(descriptor).st_mode, path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _check(mode: int, path: Path) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        kind = special_kind(mode) or "of an unknown kind"
        raise OSError(errno.EINVAL, f"it is {kind}, not a file", str(path))
