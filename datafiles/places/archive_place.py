"""An archive of folders as a place: its files are found as if it were unpacked, and it never is."""

import dataclasses
import io
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from datafiles.archives import Archive, Span
from datafiles.packed import MARK_BYTES, packing_of
from datafiles.places.place import MAX_BYTES, Place, is_in, paths_below, too_large
from datafiles.rejected import RejectedFile
from datafiles.samples import Member, samples
from datafiles.suffixes import is_archive, is_image, is_text_table
from servicekit.errors import InvalidArgument


def check_unpacked(place: Place, field: str) -> None:
    """Raises InvalidArgument for a file that is packed or compressed, with how to unpack it."""
    if not place.is_file():
        return
    try:
        with place.open() as file:
            start = file.read(MARK_BYTES)
    except OSError:
        return  # The reader of the file reports why.
    if why := packing_of(place.uri.rpartition("/")[2], start):
        raise InvalidArgument(f"{place.uri} {why}", field=field, reason="PACKED")


def entered(place: Place) -> Place:
    """Returns the files within an archive of class folders, or of images beside a table.

    All other places are returned as they are, WebDataset shards among them: an archive is one if
    an image in it has a label or notes of its own.
    """
    if not (is_archive(place.uri) and place.is_file()):
        return place
    members: list[Member[Span]] = []
    try:
        with place.open() as file:
            archive = Archive(file)
            for sample in samples(_kept(archive, members)):
                if sample.image is not None and sample.has("label", "notes"):
                    return place
    except OSError:
        return place  # As a shard it is listed with the reason.
    files = {_plain(member.name): member.where for member in members}
    has_folders = any("/" in path and is_image(path) for path in files)
    if not (has_folders or any(map(is_text_table, files))):
        return place
    rejected = list(archive.left_out)
    if archive.damage is not None:
        name = place.uri.rpartition("/")[2]
        message = f"{name} is damaged from here on: {archive.damage}; get it again"
        rejected.append(RejectedFile(name, "BAD_SHARD", message))
    return ArchivePlace(place, files, tuple(rejected))


def _kept(archive: Iterable[Member[Span]], members: list[Member[Span]]) -> Iterator[Member[Span]]:
    for member in archive:
        members.append(member)
        yield member


def _plain(name: str) -> str:
    """Returns the path of a member below the folder that it would be unpacked into."""
    return posixpath.normpath(f"/{name}").lstrip("/")


@dataclass(frozen=True)
class ArchivePlace:
    """A folder in an archive; "" is all of it. `files` are all of the archive, by their paths.

    Of several files with one path the last counts, as it does where an archive is unpacked.
    """

    archive: Place
    members: Mapping[str, Span]
    rejected: tuple[RejectedFile, ...] = ()
    folder: str = ""
    left_out: tuple[str, ...] = ()

    @property
    def uri(self) -> str:
        return f"{self.archive.uri}/{self.folder}" if self.folder else self.archive.uri

    def is_file(self) -> bool:
        return False

    def open(self, path: str = "") -> BinaryIO:
        span = self._span(path)
        return io.BytesIO(self.archive.read_part("", span.offset, span.size))

    def folders(self) -> list[str]:
        return sorted({path.partition("/")[0] for path in self._paths() if "/" in path})

    def files(self) -> Iterator[str | RejectedFile]:
        yield from self._paths()
        yield from self.rejected

    def below(self, path: str) -> Place:
        folder, left_out = self._joined(path), paths_below(self.left_out, path)
        return ArchivePlace(self.archive, self.members, (), folder, left_out)

    def without(self, path: str) -> Place:
        return dataclasses.replace(self, left_out=(*self.left_out, path))

    def path_of(self, other: Place) -> str | None:
        if not isinstance(other, ArchivePlace) or self.archive.path_of(other.archive) != "":
            return None
        if other.folder == self.folder:
            return ""
        path = other.folder.removeprefix(self._joined(""))
        return None if path == other.folder and self.folder else path

    def read(self, path: str) -> bytes:
        size = self._span(path).size
        if size > MAX_BYTES:
            raise too_large(path, size)
        return self.read_part(path, 0, size)

    def read_part(self, path: str, offset: int, size: int) -> bytes:
        span = self._span(path)
        return self.archive.read_part("", span.offset + offset, min(size, span.size - offset))

    def _paths(self) -> list[str]:
        prefix = self._joined("")
        found = (path.removeprefix(prefix) for path in self.members if path.startswith(prefix))
        return sorted(path for path in found if not is_in(path, self.left_out))

    def _span(self, path: str) -> Span:
        return self.members[self._joined(path)]

    def _joined(self, path: str) -> str:
        return f"{self.folder}/{path}" if self.folder else path
