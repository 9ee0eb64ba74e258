"""Who uses which entry of the cache of images, known to all processes that share its folder."""

import fcntl
import os
import shutil
from pathlib import Path
from typing import IO

from servicekit.errors import Cancelled

# Of an entry: held shared while it is in use, and exclusively by whoever removes it.
LOCK = "lock"


class Lease:
    """Keeps entries where they are until it is released, or its process ends."""

    def __init__(self) -> None:
        self._files: list[IO[bytes]] = []
        self._is_given_up = False

    def take(self, entry: Path) -> bool:
        """Holds an entry. Returns False if it does not exist."""
        file = _locked(entry, fcntl.LOCK_SH)
        if file is not None:
            self._files.append(file)
        return file is not None

    def give_up(self) -> None:
        """Ends the decoding for this lease soon, from another thread."""
        self._is_given_up = True

    def check(self) -> None:
        """Raises Cancelled if nobody wants the entries any more."""
        if self._is_given_up:
            raise Cancelled("the run was cancelled")

    def release(self) -> None:
        """Lets go of all entries."""
        for file in self._files:
            file.close()
        self._files.clear()


def _locked(entry: Path, how: int) -> IO[bytes] | None:
    """Opens an entry's lock and locks it; None if the entry is gone, or locked by others."""
    try:
        file = (entry / LOCK).open("rb")
    except OSError:
        return None
    try:
        fcntl.flock(file, how)
        if os.path.samestat(os.fstat(file.fileno()), (entry / LOCK).stat()):
            return file
    except OSError:  # It is in use, or was removed while this waited.
        pass
    file.close()
    return None


def remove(folder: Path) -> bool:
    """Removes an entry, or an unfinished one, that nobody uses. Returns whether it did."""
    file = _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if file is None:
        return False
    with file:
        shutil.rmtree(folder, ignore_errors=True)
    return True
