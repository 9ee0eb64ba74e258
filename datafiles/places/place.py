"""Where images are imported from: folders of this machine, or prefixes of the object store."""

import dataclasses
import errno
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import quote, unquote_to_bytes, urlsplit

from datafiles.ignored import is_ignored_path
from datafiles.places.opening import open_regular, special_kind
from datafiles.places.walking import NO_LINKS, Links, folders_of, walk
from datafiles.rejected import RejectedFile
from imaging.decode import ImageRejected, Limits
from servicekit.errors import InvalidArgument, NotFound
from servicekit.storage import ObjectStore, to_key

MAX_BYTES = Limits().max_bytes


class Place(Protocol):
    """A folder-like place. Paths are relative to it, with "/"."""

    @property
    def uri(self) -> str:
        """The URI, for messages."""

    def is_file(self) -> bool:
        """Says whether it is a file itself."""

    def open(self, path: str = "") -> BinaryIO:
        """Opens a file below, or the place itself, which is a file then. Raises OSError."""

    def folders(self) -> list[str]:
        """Returns the names of its folders, sorted, ignored ones left out."""

    def files(self) -> Iterator[str | RejectedFile]:
        """Yields the paths of all files below in one order, ignored ones left out."""

    def below(self, path: str) -> "Place":
        """Returns the place of a folder below."""

    def without(self, path: str) -> "Place":
        """Returns this place without a folder or file below."""

    def path_of(self, other: "Place") -> str | None:
        """Returns the path at which another place is in this one; "" if it is the same."""

    def read(self, path: str) -> bytes:
        """Returns the bytes of a file. Raises ImageRejected."""

    def read_part(self, path: str, offset: int, size: int) -> bytes:
        """Returns `size` bytes of what `open` opens, from `offset` on. Raises ImageRejected."""


def locate(
    uri: str,
    *,
    store: ObjectStore,
    roots: tuple[str, ...],
    field: str,
    follow_links: bool = False,
) -> Place:
    """Returns the place of a "file:///..." or "store:..." URI.

    Links below it may lead to files in it; with `follow_links` to files and folders anywhere below
    `roots`. Raises InvalidArgument naming `field` for another scheme, for a file outside all
    `roots` (by its real path, links followed), and for what does not exist or cannot be read.
    """
    if uri.startswith("store:"):
        return StorePlace(store, to_key(uri.rstrip("/"), field), field)
    path = _real_path(uri, field)
    allowed = {Path(os.path.realpath(root)) for root in roots}
    if not _is_below(path, allowed):
        raise InvalidArgument(
            f"{path} is outside the folders that this gateway may import from "
            f"({', '.join(sorted(map(str, allowed))) or 'none'}); move it there, or start the "
            "gateway with GATEWAY_IMPORT_ROOTS",
            field=field,
            reason="OUTSIDE_IMPORT_ROOTS",
        )
    _check_readable(path, field)
    within = allowed if follow_links else {path}
    return FilePlace(path, uri, Links(lambda target: _is_below(target, within), follow_links))


def _real_path(uri: str, field: str) -> Path:
    parts = urlsplit(uri)
    if parts.scheme == "file" and (parts.query or parts.fragment):
        raise InvalidArgument(
            f"{uri!r} is cut off at its ? or #; write them as %3F and %23 (and % as %25)",
            field=field,
            reason="BAD_URI",
        )
    try:
        if parts.scheme == "file" and parts.netloc in ("", "localhost"):
            # The bytes of the name, whatever their encoding.
            return Path(os.path.realpath(os.fsdecode(unquote_to_bytes(parts.path))))
    except ValueError:
        pass  # It holds a zero byte.
    raise InvalidArgument(
        f"{uri!r} cannot be imported; write file:///FOLDER, file:///FILE.parquet or store:PREFIX",
        field=field,
        reason="BAD_URI",
    )


def _is_below(path: Path, folders: set[Path]) -> bool:
    return path in folders or any(parent in folders for parent in path.parents)


def _check_readable(path: Path, field: str) -> None:
    try:
        kind = special_kind(path.stat().st_mode)
        if path.is_dir():
            os.scandir(path).close()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InvalidArgument(
            f"{path} does not exist; check the path", field=field, reason="SOURCE_MISSING"
        ) from error
    except OSError as error:
        raise InvalidArgument(
            f"{path} cannot be read: {error.strerror or error}; check its permissions",
            field=field,
            reason="SOURCE_UNREADABLE",
        ) from error
    if kind:
        raise InvalidArgument(
            f"{path} is {kind}; give a folder or a file", field=field, reason="SOURCE_UNREADABLE"
        )


@dataclass(frozen=True)
class FilePlace:
    """A folder or file of this machine. `root` is its real path; `links` are those that count."""

    root: Path
    uri: str
    links: Links = NO_LINKS
    left_out: tuple[str, ...] = ()

    def is_file(self) -> bool:
        return self.root.is_file()

    def open(self, path: str = "") -> BinaryIO:
        target = Path(os.path.realpath(self.root / path))
        # It may have become a link since it was listed.
        if not (target.is_relative_to(self.root) or self.links.admits(target)):
            raise PermissionError(errno.EPERM, "it is a link that leaves the folder", str(path))
        return open_regular(target)

    def folders(self) -> list[str]:
        if not self.root.is_dir():
            return []
        return [f for f in folders_of(self.root, self.links) if not is_in(f, self.left_out)]

    def files(self) -> Iterator[str | RejectedFile]:
        if self.root.is_dir():
            for found in walk(self.root, self.links):
                path = found if isinstance(found, str) else found.path
                if not is_in(path, self.left_out):
                    yield found

    def below(self, path: str) -> Place:
        left_out = paths_below(self.left_out, path)
        uri = f"{self.uri.rstrip('/')}/{quote(os.fsencode(path))}"
        return FilePlace(Path(os.path.realpath(self.root / path)), uri, self.links, left_out)

    def without(self, path: str) -> Place:
        return dataclasses.replace(self, left_out=(*self.left_out, path))

    def path_of(self, other: Place) -> str | None:
        if not (isinstance(other, FilePlace) and other.root.is_relative_to(self.root)):
            return None
        path = other.root.relative_to(self.root).as_posix()
        return "" if path == "." else path

    def read(self, path: str) -> bytes:
        try:
            with self.open(path) as file:
                size = os.fstat(file.fileno()).st_size
                if size > MAX_BYTES:
                    raise too_large(path, size)
                return file.read(MAX_BYTES)
        except OSError as error:
            raise _unreadable(path, error) from error

    def read_part(self, path: str, offset: int, size: int) -> bytes:
        try:
            with self.open(path) as file:
                file.seek(offset)
                return file.read(size)
        except OSError as error:
            raise _unreadable(path, error) from error


@dataclass(frozen=True)
class StorePlace:
    """A prefix or an object of the object store. The two files opened last stay in memory."""

    store: ObjectStore
    key: str
    field: str
    left_out: tuple[str, ...] = ()
    opened: dict[str, bytes] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    @property
    def uri(self) -> str:
        return f"store:{self.key}"

    def is_file(self) -> bool:
        return self.store.exists(self.key)

    def open(self, path: str = "") -> BinaryIO:
        return io.BytesIO(self._file(path))

    def folders(self) -> list[str]:
        return sorted({path.partition("/")[0] for path in self._paths if "/" in path})

    def files(self) -> Iterator[str | RejectedFile]:
        yield from self._paths

    def below(self, path: str) -> Place:
        left_out = paths_below(self.left_out, path)
        return StorePlace(self.store, f"{self.key}/{path}", self.field, left_out)

    def without(self, path: str) -> Place:
        return StorePlace(self.store, self.key, self.field, (*self.left_out, path))

    def path_of(self, other: Place) -> str | None:
        if not isinstance(other, StorePlace):
            return None
        if other.key == self.key:
            return ""
        path = other.key.removeprefix(f"{self.key}/")
        return None if path == other.key else path

    @cached_property
    def _paths(self) -> list[str]:
        prefix = f"{self.key}/"
        paths = (key.removeprefix(prefix) for key in self.store.list(prefix))
        return [p for p in paths if not (is_ignored_path(p) or is_in(p, self.left_out))]

    def read(self, path: str) -> bytes:
        key = f"{self.key}/{path}"
        try:
            size = self.store.size(key)
            if size > MAX_BYTES:
                raise too_large(path, size)
            return self.store.get(key)
        except NotFound as error:
            raise ImageRejected("UNREADABLE", f"{path} is no longer there") from error

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


def is_in(path: str, folders: tuple[str, ...]) -> bool:
    """Says whether a path is one of some folders or files, or lies in one."""
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)


def paths_below(folders: tuple[str, ...], path: str) -> tuple[str, ...]:
    """Returns those of some folders that are below a path, as seen from there."""
    prefix = f"{path}/"
    return tuple(f.removeprefix(prefix) for f in folders if f.startswith(prefix))


def _unreadable(path: str, error: OSError) -> ImageRejected:
    return ImageRejected("UNREADABLE", f"{path} cannot be read: {error.strerror or error}")


def too_large(path: str, size: int) -> ImageRejected:
    """Returns the error of an image of too many bytes."""
    return ImageRejected("TOO_MANY_BYTES", f"{path} has {size} bytes; at most {MAX_BYTES} are read")
