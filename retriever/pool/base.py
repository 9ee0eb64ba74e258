"""What every form of pool gives: shards of rows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from datafiles.labels import Label
from datafiles.names import clean_name
from datafiles.rejected import RejectedFile
from servicekit.errors import InvalidArgument, ServiceError
from servicekit.storage import ObjectStore

# A value that a filter can compare.
Scalar = float | str
# What a pool may know about an image besides: most columns that are kept.
_MOST_EXTRAS = 64


@dataclass(frozen=True)
class PoolRow:
    """One row of a pool: image bytes, or the URI of an image, and what is known about it.

    `problems` are files or values beside the image that cannot be used, such as its label.
    """

    data: bytes | None
    image_uri: str = ""
    caption: str = ""
    label: int = -1
    class_name: str = ""
    # Further columns, for filters: numbers and texts.
    extras: Mapping[str, Scalar] = field(default_factory=dict)
    # What people know it by where it has no URI.
    name: str = "a row of the pool"
    problems: tuple[RejectedFile, ...] = ()


def class_of(label: Label, folder: str = "") -> tuple[int, str]:
    """Returns number and name of a class; -1 and "" for what is not known.

    Without a name the folder names the class, unless that is a number, as a shard's is.
    """
    number = -1 if label.number is None else label.number
    return number, label.name or ("" if folder.isdigit() else clean_name(folder))


class ShardBroken(Exception):
    """A shard that cannot be read. `reason` is machine-readable, the text is for people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message


class Shard(Protocol):
    """A part of a pool that is read in one go and left out as a whole if it is broken."""

    @property
    def uri(self) -> str:
        """Object store URI."""

    @property
    def identity(self) -> str:
        """Names and sizes of what it is made of: tells it without reading it."""

    @property
    def size(self) -> int:
        """Bytes, to foresee how much is left."""

    def read(self, store: ObjectStore) -> tuple[int, Iterator[PoolRow | RejectedFile]]:
        """Returns the number of rows, and the rows and what is left out, always in one order.

        Raises ShardBroken, at once or at any row.
        """


@dataclass(frozen=True)
class Pool:
    """A pool's shards in order, and the files that are in none."""

    uri: str
    shards: tuple[Shard, ...]
    left_out: tuple[RejectedFile, ...] = ()


def bad_pool(message: str, reason: str) -> ServiceError:
    """Returns the error of a pool that cannot be used."""
    return InvalidArgument(message, field="pool_uri", reason=reason)


def scalars(values: Mapping[str, object]) -> dict[str, Scalar]:
    """Returns the numbers and texts among the values of a row."""
    kept: dict[str, Scalar] = {}
    for name, value in values.items():
        if isinstance(value, str):
            kept[name] = encodable(value)
        elif isinstance(value, bool | int | float) and abs(value) < 2**1000:
            kept[name] = float(value)
        if len(kept) == _MOST_EXTRAS:
            break
    return kept


def encodable(text: str) -> str:
    """Returns the text with "?" for halves of characters, which JSON may hold and UTF-8 not."""
    return text.encode("utf-8", "replace").decode()
