"""The pictures that a folder written by `augment` still holds, in files and in shards."""

import hashlib
import tarfile
from dataclasses import dataclass
from pathlib import Path

from datafiles.places.opening import open_regular
from datafiles.places.walking import Links, walk
from gateway.cli.failures import CliError

_IMAGES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tiff"}


@dataclass(frozen=True)
class Picture:
    """A picture in a file: the whole of it, or `size` bytes of a shard from `offset` on.

    `folder` is the first below the output, "" for none, or None for a shard, which has no folders.
    """

    file: Path
    folder: str | None
    suffix: str
    offset: int
    size: int

    def read(self) -> bytes:
        """Returns its bytes. Raises OSError."""
        with open_regular(self.file) as file:
            file.seek(self.offset)
            return file.read(self.size)


def by_digest(folder: Path) -> dict[str, list[Picture]]:
    """The pictures of a folder, also those in its .tar shards, by SHA-256.

    Raises CliError for what is no file and for what cannot be read.
    """
    pictures: list[Picture] = []
    for path in _files(folder):
        if path.suffix.lower() == ".tar":
            pictures += _in_shard(path)
        else:
            _, *parents = reversed(path.relative_to(folder).parts)
            top = parents[-1] if parents else ""
            pictures.append(Picture(path, top, path.suffix.lower(), 0, path.stat().st_size))
    found: dict[str, list[Picture]] = {}
    for picture in pictures:
        if picture.suffix in _IMAGES:
            try:
                digest = hashlib.sha256(picture.read()).hexdigest()
            except OSError as error:
                raise _unreadable(picture.file, error) from error
            found.setdefault(digest, []).append(picture)
    return found


def _files(folder: Path) -> list[Path]:
    """The files below a folder, sorted. Raises CliError for what is none or cannot be read."""
    files = []
    for found in walk(folder, Links(lambda _: True)):
        if not isinstance(found, str):
            raise CliError(f"{folder}: {found.message}.", exit_code=3, reason=found.reason)
        files.append(folder / found)
    return sorted(files)


def _in_shard(path: Path) -> list[Picture]:
    try:
        with open_regular(path) as file, tarfile.open(fileobj=file, mode="r:") as shard:
            return [
                Picture(path, None, Path(one.name).suffix.lower(), one.offset_data, one.size)
                for one in shard
            ]
    except (tarfile.TarError, OSError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> CliError:
    why = getattr(error, "strerror", None) or error
    return CliError(f"{path} cannot be read: {why}.", exit_code=3, reason="UNREADABLE")
