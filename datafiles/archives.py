"""Reads WebDataset archives as streams: the names and places of their files, never unpacked."""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from datafiles.ignored import is_ignored_path
from datafiles.samples import Member


@dataclass(frozen=True)
class Span:
    """Where a file is in its archive, in bytes."""

    offset: int
    size: int


class Archive:
    """The files of a tar archive, in order; `damage` is set at the end if it is not whole.

    One header is held at a time. Links, devices and what `datafiles.ignored` lists are passed over;
    names that are no UTF-8 are escaped. `prefix` comes before every name.
    """

    def __init__(self, file: BinaryIO, prefix: str = "") -> None:
        self._file, self._prefix = file, prefix
        self.damage: Exception | None = None

    def __iter__(self) -> Iterator[Member[Span]]:
        try:
            with tarfile.open(fileobj=self._file, mode="r:", errors="backslashreplace") as tar:
                while (one := tar.next()) is not None:
                    tar.members = []  # type: ignore[attr-defined]  # It would keep them all.
                    if one.isreg() and not one.issparse() and not is_ignored_path(one.name):
                        yield Member(self._prefix + one.name, Span(one.offset_data, one.size))
                self._check_end(tar.offset)
        # What tarfile makes of damage is not of one kind.
        except (tarfile.TarError, OSError, EOFError, ValueError, OverflowError) as error:
            self.damage = error

    def read(self, member: Member[Span]) -> bytes:
        """Returns the bytes of a file; less than there should be if the archive ends there."""
        self._file.seek(member.where.offset)
        return self._file.read(member.where.size)

    def _check_end(self, offset: int) -> None:
        """Raises ReadError unless the end mark follows: tarfile takes damage for the end."""
        self._file.seek(offset)
        if self._file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("the mark of the end is missing")
