"""One file, fetched into a part that grows until it is whole; interrupted, it goes on there."""

import errno
import os
import time
from pathlib import Path

from gateway.cli.weights.base import Digests, RemoteFile, Source, digests_of
from gateway.cli.weights.progress import DownloadProgress
from servicekit.errors import Exhausted, Precondition, Unavailable

# Of a file that is not whole.
PART = ".part"
# A server that is lost so often without a byte in between is given up.
_MOST_LOSSES = 6
_LONGEST_PAUSE = 10.0
_FULL = (errno.ENOSPC, errno.EDQUOT)


def download(source: Source, file: RemoteFile, place: Path, progress: DownloadProgress) -> str:
    """Puts a file in its place once it is proven to be the one wanted. Returns its SHA-256.

    Raises Precondition if what comes is another, Unavailable if the source is lost for long, and
    Exhausted if the disk is full.
    """
    part = place.with_name(place.name + PART)
    place.parent.mkdir(parents=True, exist_ok=True)
    for is_last in (False, True):  # A part may be left of another version, or of a crash.
        digests = _complete(source, file, part, progress)
        if digests.match():
            _settle(part, place)
            return digests.sha256
        part.unlink()
        if not is_last:
            progress.say(f"{file.name} is not what its digest says; fetching it again")
    raise Precondition(
        f"{file.name} has the SHA-256 {digests.sha256}, and not {_wanted(file)}, twice in a row; "
        "correct the digest in the list, or the file at its source",
        subject=file.name,
        reason="WRONG_DIGEST",
    )


def _complete(source: Source, file: RemoteFile, part: Path, progress: DownloadProgress) -> Digests:
    """Makes a part as long as the file. Returns the digests of what it holds."""
    losses = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        if before > file.size:
            part.unlink()
            before = 0
        digests = digests_of(part, file) if before else Digests(file)
        if before and losses == 0:
            progress.say(f"{file.name} goes on at {before:,} of {file.size:,} bytes")
        try:
            return _append(source, file, part, digests, progress)
        except Unavailable as error:
            gained = part.exists() and part.stat().st_size > before
            losses = 1 if gained else losses + 1
            if losses >= _MOST_LOSSES:
                raise
            progress.say(f"{file.name}: {error.message}; trying again")
            time.sleep(min(0.2 * 2**losses, _LONGEST_PAUSE))


def _append(
    source: Source, file: RemoteFile, part: Path, digests: Digests, progress: DownloadProgress
) -> Digests:
    """Fetches what a part lacks. Returns the digests of the whole; raises Unavailable."""
    have = part.stat().st_size if part.exists() else 0
    try:
        with part.open("ab") as opened:
            if have < file.size:
                with source.read(file, have) as (start, blocks):
                    if start != have:  # The server gave the whole file.
                        opened.truncate(0)
                        have, digests = 0, Digests(file)
                    for block in blocks:
                        taken = block[: file.size - have]
                        opened.write(taken)
                        digests.update(taken)
                        have += len(taken)
                        progress.add(len(taken))
            opened.flush()
            os.fsync(opened.fileno())
    except OSError as error:
        raise (no_room(part, file.size) if error.errno in _FULL else error) from error
    if have < file.size:
        raise Unavailable(f"only {have:,} of {file.size:,} bytes came", reason="SOURCE_LOST")
    return digests


def no_room(place: Path, size: int) -> Exhausted:
    """The error for a disk that has no room for so many bytes."""
    return Exhausted(
        f"the disk of {place.parent} is full; {place.name.removesuffix(PART)} has {size:,} bytes. "
        "Make room or enlarge the volume, and run the same command again: it resumes there",
        reason="DISK_FULL",
    )


def _settle(part: Path, place: Path) -> None:
    """Gives a whole part its name, so that it has it also after a power cut."""
    part.replace(place)
    sync_folder(place.parent)


def sync_folder(folder: Path) -> None:
    """Makes sure that the names in a folder are on the disk."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _wanted(file: RemoteFile) -> str:
    return file.sha256 or f"the git blob {file.blob}"
