"""Where images are imported from: folders of this machine, or prefixes of the object store."""

import dataclasses
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol
from urllib.parse import unquote, urlsplit

from gateway.resources import RejectedFile
from imaging.decode import ImageRejected, Limits
from servicekit.errors import InvalidArgument
from servicekit.storage import ObjectStore, to_key

MAX_BYTES = Limits().max_bytes


class Place(Protocol):
    """A folder-like place. Paths are relative to it, with "/"."""

    @property
    def uri(self) -> str:
        """The URI, for messages."""

    def open(self, path: str = "") -> BinaryIO:
        """Opens a file below, or the place itself, which is a file then. Raises OSError."""

    def folders(self) -> list[str]:
        """Returns the names of its folders, sorted, hidden ones left out."""

    def files(self) -> Iterator[str | RejectedFile]:
        """Yields the paths of all files below, sorted, hidden ones left out."""

    def read(self, path: str) -> bytes:
        """Returns the bytes of a file. Raises ImageRejected."""

    def read_part(self, path: str, offset: int, size: int) -> bytes:
        """Returns `size` bytes of what `open` opens, from `offset` on. Raises ImageRejected."""


def locate(uri: str, *, store: ObjectStore, roots: tuple[str, ...], field: str) -> Place:
    """Returns the place of a "file:///..." or "store:..." URI.

    Raises InvalidArgument naming `field` for another scheme, for a file outside all `roots` (by
    its real path, links followed), and for what does not exist.
    """
    if uri.startswith("store:"):
        return StorePlace(store, to_key(uri.rstrip("/"), field), field)
    parts = urlsplit(uri)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
        raise InvalidArgument(
            f"{uri!r} cannot be imported; write file:///FOLDER, file:///FILE.parquet or "
            "store:PREFIX",
            field=field,
            reason="BAD_URI",
        )
    if parts.query or parts.fragment:
        raise InvalidArgument(
            f"{uri!r} is cut at its ? or #; write them as %3F and %23 (and % as %25)",
            field=field,
            reason="BAD_URI",
        )
    path = Path(os.path.realpath(unquote(parts.path, errors="surrogateescape")))
    allowed = [Path(os.path.realpath(root)) for root in roots]
    if not any(path.is_relative_to(root) for root in allowed):
        raise InvalidArgument(
            f"{path} is outside the folders that this gateway may import from "
            f"({', '.join(map(str, allowed)) or 'none'}); move it there, or start the gateway with "
            "GATEWAY_IMPORT_ROOTS",
            field=field,
            reason="OUTSIDE_IMPORT_ROOTS",
        )
    if not path.exists():
        raise InvalidArgument(
            f"{path} does not exist; check the path", field=field, reason="SOURCE_MISSING"
        )
    return FilePlace(path, uri)


@dataclass(frozen=True)
class FilePlace:
    """A folder or file of this machine. `root` is its real path."""

    root: Path
    uri: str

    def open(self, path: str = "") -> BinaryIO:
        return (self.root / path).open("rb")

    def folders(self) -> list[str]:
        if not self.root.is_dir():
            return []
        return sorted(p.name for p in self.root.iterdir() if p.is_dir() and not _hidden(p.name))

    def files(self) -> Iterator[str | RejectedFile]:
        for folder, names, files in os.walk(self.root):
            base = Path(folder)
            names[:] = sorted(name for name in names if not _hidden(name))
            for name in sorted(files) + [n for n in names if (base / n).is_symlink()]:
                if not _hidden(name):
                    yield self._check(base / name)

    def _check(self, path: Path) -> str | RejectedFile:
        relative = path.relative_to(self.root).as_posix()
        if not path.is_symlink():
            return relative
        target = Path(os.path.realpath(path))
        if not target.is_relative_to(self.root):
            reason, message = "OUTSIDE_ROOT", f"{relative} is a link that leaves the folder"
        elif not target.is_file():
            reason, message = "BAD_LINK", f"{relative} is a link to a folder or to nothing"
        else:
            return relative
        return RejectedFile(relative, reason, f"{message}; copy the image itself there")

    def read(self, path: str) -> bytes:
        file = self.root / path
        try:
            size = file.stat().st_size
            if size > MAX_BYTES:
                raise _too_large(path, size)
            return file.read_bytes()
        except OSError as error:
            raise ImageRejected("UNREADABLE", f"{path}: {error.strerror or error}") from error

    def read_part(self, path: str, offset: int, size: int) -> bytes:
        try:
            with self.open(path) as file:
                file.seek(offset)
                return file.read(size)
        except OSError as error:
            raise ImageRejected("UNREADABLE", f"{path}: {error.strerror or error}") from error


@dataclass(frozen=True)
class StorePlace:
    """A prefix or an object of the object store. The two files opened last stay in memory."""

    store: ObjectStore
    key: str
    field: str
    opened: dict[str, bytes] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    @property
    def uri(self) -> str:
        return f"store:{self.key}"

    def open(self, path: str = "") -> BinaryIO:
        return io.BytesIO(self._file(path))

    def folders(self) -> list[str]:
        paths = (PurePosixPath(path) for path in self._paths())
        return sorted({p.parts[0] for p in paths if len(p.parts) > 1})

    def files(self) -> Iterator[str | RejectedFile]:
        yield from self._paths()

    def _paths(self) -> list[str]:
        prefix = f"{self.key}/"
        paths = (key.removeprefix(prefix) for key in self.store.list(prefix))
        return [p for p in paths if not any(_hidden(part) for part in p.split("/"))]

    def read(self, path: str) -> bytes:
        key = f"{self.key}/{path}"
        size = self.store.size(key)
        if size > MAX_BYTES:
            raise _too_large(path, size)
        return self.store.get(key)

    def read_part(self, path: str, offset: int, size: int) -> bytes:
        return self._file(path)[offset : offset + size]

    def _file(self, path: str) -> bytes:
        found = self.opened.get(path)
        if found is None:
            found = self.store.get(f"{self.key}/{path}" if path else self.key)
            for oldest in list(self.opened)[:-1]:
                self.opened.pop(oldest, None)
            self.opened[path] = found
        return found


def _hidden(name: str) -> bool:
    return name.startswith(".")


def _too_large(path: str, size: int) -> ImageRejected:
    return ImageRejected("TOO_MANY_BYTES", f"{path} has {size} bytes; at most {MAX_BYTES} are read")
