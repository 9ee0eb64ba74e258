"""What every export format gives, and what all of them need."""

import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Protocol, TypeVar

import pyarrow as pa

from servicekit.storage import ObjectStore, to_key

_WORKERS, _WINDOW = 4, 256

Row = dict[str, Any]
T = TypeVar("T")
R = TypeVar("R")


class Layout(Protocol):
    """How the images of one manifest lie in an output folder."""

    # The parquet file that readers of the format look for beside the images; "" for none.
    description: str

    def columns(self, first: int, rows: Sequence[Row]) -> dict[str, list[Any]]:
        """Returns what the format adds to some rows of a manifest, among it `file_name`: the place
        below OUT. The rows have an item id, a class and an image; `first` numbers the first one."""

    def write(
        self, store: ObjectStore, rows: Iterable[Row], out: Path, *, overwrite: bool
    ) -> Iterator[bool]:
        """Writes the images; yields for each row, in order, whether it had to be written.

        The rows have the format's columns. No more than some hundreds are held.
        """

    def described(self, manifest: pa.Table) -> pa.Table:
        """Returns what the description says of some rows."""


class Format(Protocol):
    """A kind of output folder."""

    id: str

    def layout(self, tables: Iterable[pa.Table]) -> Layout:
        """Returns the layout of a manifest, whose classes and images are in `tables`."""


def suffix_of(image_uri: str) -> str:
    """Returns the file suffix of an image, with the dot."""
    return PurePosixPath(to_key(image_uri)).suffix or ".png"


def parallel(function: Callable[[T], R], values: Iterable[T]) -> Iterator[R]:
    """Maps in order with a few threads; at most a window of values is in the works."""
    iterator = iter(values)
    with ThreadPoolExecutor(_WORKERS) as pool:
        while window := list(islice(iterator, _WINDOW)):
            yield from pool.map(function, window)


def write_file(path: Path, data: bytes) -> None:
    """Writes a file beside its name and renames it into place."""
    with written(path) as file:
        file.write(data)


@contextmanager
def written(path: Path) -> Iterator[BinaryIO]:
    """Gives a file that has its name once the block has ended well."""
    staged = path.parent / f".{uuid.uuid4().hex}.part"
    try:
        with staged.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)
