"""What a source of models is, and how a file is proven to be the one that is wanted."""

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

# What the services read. Pickles, whatever their names, are none of it: they can run code.
KINDS = (".safetensors", ".json", ".txt", ".model", ".jinja")
WEIGHTS = ".safetensors"
# What proves the files of a model, in the form of the program sha256sum.
SUMS = "SHA256SUMS"
_BLOCK = 2**20


@dataclass(frozen=True)
class RemoteFile:
    """A file of a model. One of the digests is known before it is fetched.

    `sha256` is of its content; `blob` is git's own, SHA-1 of its content with a header, which a hub
    has for small files.
    """

    name: str
    size: int
    sha256: str = ""
    blob: str = ""


@dataclass(frozen=True)
class Listing:
    """The files of a model, and the `version` that they are of, as the source calls it."""

    files: tuple[RemoteFile, ...]
    version: str = ""


class Source(Protocol):
    """Where a model comes from. Its methods raise ServiceError; Unavailable may pass."""

    def listing(self, patterns: tuple[str, ...]) -> Listing:
        """Returns the model's files that match a pattern and are of KINDS."""

    def read(
        self, file: RemoteFile, start: int
    ) -> AbstractContextManager[tuple[int, Iterator[bytes]]]:
        """Opens a file at a byte. Returns the byte that it really begins with, and what follows."""


class Digests:
    """The digests of a file's content, as it comes."""

    def __init__(self, file: RemoteFile) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        self._blob = hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)

    def update(self, block: bytes) -> None:
        """Takes the next bytes."""
        self._sha256.update(block)
        if self._file.blob:
            self._blob.update(block)

    def match(self) -> bool:
        """Says whether the content so far is the file's."""
        if self._file.sha256:
            return self._sha256.hexdigest() == self._file.sha256
        return self._blob.hexdigest() == self._file.blob

    @property
    def sha256(self) -> str:
        """The SHA-256 of the content so far, in hexadecimal."""
        return self._sha256.hexdigest()


def digests_of(path: Path, file: RemoteFile) -> Digests:
    """Returns the digests of what lies at a path."""
    found = Digests(file)
    with path.open("rb") as opened:
        while block := opened.read(_BLOCK):
            found.update(block)
    return found


def is_whole(path: Path, file: RemoteFile) -> bool:
    """Says whether a file lies at a path as it should be. It is read from end to end."""
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    return digests_of(path, file).match()


def is_wanted(name: str, patterns: tuple[str, ...]) -> bool:
    """Says whether a file is one that services read and that a pattern (of fnmatch) names."""
    path = PurePosixPath(name)
    if path.suffix not in KINDS:
        return False
    return not patterns or any(path.match(pattern) for pattern in patterns)
