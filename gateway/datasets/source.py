"""What every kind of source gives: entries with a class, files left out, and notes."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from datafiles.places.place import Place
from datafiles.rejected import RejectedFile
from datafiles.samples import Chosen
from gateway.datasets import sources
from servicekit.errors import InvalidArgument
from servicekit.registry import registered


@dataclass(frozen=True)
class Entry:
    """One candidate image. `read` returns its bytes and may be called more than once."""

    path: str
    class_name: str
    read: Callable[[], bytes]


@dataclass(frozen=True)
class Note:
    """A sentence for people, such as a class folder without images."""

    text: str


Found = Entry | RejectedFile | Note


class Source(Protocol):
    """A kind of source."""

    id: str

    def fits(self, place: Place, chosen: Chosen) -> bool:
        """Says whether the place is of this kind."""

    def scan(self, place: Place, field: str, chosen: Chosen) -> Iterator[Found]:
        """Yields what is there, in one order. Raises InvalidArgument if nothing can be read.

        `chosen` names the columns of images and labels where the user did.
        """


def source_of(place: Place, field: str, chosen: Chosen) -> Source:
    """Returns the kind of source that fits. Raises InvalidArgument naming the known kinds."""
    kinds: Mapping[str, Source] = registered(sources, "SOURCE")
    for kind in kinds.values():
        if kind.fits(place, chosen):
            return kind
    raise InvalidArgument(
        f"{place.uri} is none of {', '.join(kinds)}; give a folder with a folder per class, "
        "images with a metadata.csv (file_name, label), a folder of .tar or .parquet files, or one "
        "such file",
        field=field,
        reason="UNKNOWN_SOURCE",
    )
