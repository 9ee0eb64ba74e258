"""What every export format gives, and what all of them need."""

import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pyarrow as pa

from servicekit.storage import ObjectStore, to_key

_WORKERS, _WINDOW = 4, 256

Row = dict[str, Any]
T = TypeVar("T")
R = TypeVar("R")


class Format(Protocol):
    """A kind of output folder."""

    id: str

    def columns(self, rows: Sequence[Row]) -> dict[str, list[Any]]:
        """Returns what the format adds to a manifest, among it `file_name`: the place below OUT."""

    def write(
        self, store: ObjectStore, rows: Sequence[Row], out: Path, *, overwrite: bool
    ) -> Iterator[bool]:
        """Writes the images; yields for each row whether it had to be written.

        The rows have the format's columns.
        """

    def describe(self, manifest: pa.Table, out: Path) -> None:
        """Writes what readers of the format look for beside the images, if there is any."""


def image_suffix(row: Row) -> str:
    """Returns the file suffix of a row's image, with the dot."""
    return Path(to_key(row["image_uri"])).suffix or ".png"


def parallel(function: Callable[[T], R], values: Iterable[T]) -> Iterator[R]:
    """Maps in order with a few threads; at most a window of values is in the works."""
    iterator = iter(values)
    with ThreadPoolExecutor(_WORKERS) as pool:
        while window := list(islice(iterator, _WINDOW)):
            yield from pool.map(function, window)


def write_file(path: Path, data: bytes) -> None:
    """Writes a file beside its name and renames it into place."""
    staged = path.parent / f".{uuid.uuid4().hex}.part"
    try:
        with staged.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)
