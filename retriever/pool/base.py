"""What every form of pool gives: shards of rows."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from servicekit.errors import InvalidArgument, ServiceError
from servicekit.storage import ObjectStore

# A value that a filter can compare.
Scalar = float | str
# What a pool may know about an image besides: most columns that are kept.
_MOST_EXTRAS = 64
_NUMBER = re.compile(r"-?\d{1,18}")


@dataclass(frozen=True)
class PoolRow:
    """One row of a pool: image bytes, or the URI of an image, and what is known about it."""

    data: bytes | None
    image_uri: str = ""
    caption: str = ""
    label: int = -1
    class_name: str = ""
    # Further columns, for filters: numbers and texts.
    extras: Mapping[str, Scalar] = field(default_factory=dict)


def class_of(label: object, name: object, folder: str = "") -> tuple[int, str]:
    """Returns number and name of a class; -1 and "" for what is not known.

    A label is the number, or the name where no other is given; without either the folder names the
    class, unless that is a number, as a shard's is.
    """
    number, other = -1, ""
    match label:
        case int():
            number = int(label)
        case float() if label.is_integer():
            number = int(label)
        case str() if _NUMBER.fullmatch(label.strip()):
            number = int(label)
        case str():
            other = label.strip()
    if abs(number) >= 2**63:  # More than a column holds.
        number = -1
    return number, str(name or other or ("" if folder.isdigit() else folder))


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

    def read(self, store: ObjectStore) -> tuple[int, Iterator[PoolRow]]:
        """Returns the number of rows and the rows, always in one order.

        Raises ShardBroken, at once or at any row.
        """


@dataclass(frozen=True)
class Pool:
    """A pool's shards in order."""

    uri: str
    shards: tuple[Shard, ...]


def bad_pool(message: str, reason: str) -> ServiceError:
    """Returns the error of a pool that cannot be used."""
    return InvalidArgument(message, field="pool_uri", reason=reason)


def scalars(values: Mapping[str, object]) -> dict[str, Scalar]:
    """Returns the numbers and texts among the values of a row."""
    kept: dict[str, Scalar] = {}
    for name, value in values.items():
        if isinstance(value, bool | int | float):
            kept[name] = float(value)
        elif isinstance(value, str):
            kept[name] = value
        if len(kept) == _MOST_EXTRAS:
            break
    return kept
