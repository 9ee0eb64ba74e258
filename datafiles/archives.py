"""Reads WebDataset archives as streams: the names and places of their files, never unpacked."""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from datafiles.ignored import is_ignored_path
from datafiles.packed import MARK_BYTES, packing_of
from datafiles.rejected import RejectedFile
from datafiles.samples import Member


@dataclass(frozen=True)
class Span:
    """Where a file is in its archive, in bytes."""

    offset: int
    size: int


class Archive:
    """The files of a tar archive, in order.

    At the end `damage` is set if it is not whole, and `packing` says what it is if it is no tar but
    packed otherwise. One header is held at a time. Links and devices are `left_out`; what
    `datafiles.ignored` lists is passed over; names that are no UTF-8 are escaped. `prefix` comes
    before every name.
    """

    def __init__(self, file: BinaryIO, prefix: str = "") -> None:
        self._file, self._prefix = file, prefix
        self.damage: Exception | None = None
        self.packing = ""
        self.left_out: list[RejectedFile] = []

    def __iter__(self) -> Iterator[Member[Span]]:
        try:
            with tarfile.open(fileobj=self._file, mode="r:", errors="backslashreplace") as tar:
                while (one := tar.next()) is not None:
                    tar.members = []  # type: ignore[attr-defined]  # It would keep them all.
                    if one.isdir() or is_ignored_path(one.name):
                        continue
                    name = self._prefix + one.name
                    if one.isreg() and not one.issparse():
                        yield Member(name, Span(one.offset_data, one.size))
                    else:
                        self.left_out.append(_left_out(name, one))
                self._check_end(tar.offset)
        # What tarfile makes of damage is not of one kind.
        except (tarfile.TarError, OSError, EOFError, ValueError, OverflowError) as error:
            self.damage = error
            self._file.seek(0)
            name = self._prefix.rstrip("/").rpartition("/")[2]
            self.packing = packing_of(name, self._file.read(MARK_BYTES))

    def read(self, member: Member[Span]) -> bytes:
        """Returns the bytes of a file; less than there should be if the archive ends there."""
        self._file.seek(member.where.offset)
        return self._file.read(member.where.size)

    def _check_end(self, offset: int) -> None:
        """Raises ReadError unless the end mark follows: tarfile takes damage for the end."""
        self._file.seek(offset)
        if self._file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("the end-of-archive marker is missing")


def _left_out(name: str, one: tarfile.TarInfo) -> RejectedFile:
    if one.islnk() or one.issym():
        what = f"is a link to {one.linkname}; pack what it leads to (tar -h --hard-dereference)"
    elif one.issparse():
        what = "is stored with holes; pack it without --sparse"
    else:
        what = "is not a file; remove it from the archive"
    return RejectedFile(name, "NOT_A_FILE", f"{name} {what}")
