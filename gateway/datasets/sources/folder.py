"""A folder per class: FOLDER/CLASS/any/depth/IMAGE."""

from collections.abc import Iterator
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq

from datafiles.samples import Chosen
from datafiles.shards import shards_among
from gateway.datasets.places import Place
from gateway.datasets.source import Entry, Found, Note
from gateway.resources import RejectedFile
from servicekit.errors import InvalidArgument, ServiceError

_MANIFEST = "manifest.parquet"


class FolderSource:
    """Takes the first folder of a path as the class; files outside class folders are left out."""

    id = "folder"

    def fits(self, place: Place) -> bool:
        if place.folders():
            return True
        files = [found if isinstance(found, str) else found.path for found in place.files()]
        return bool(files) and not shards_among(files)

    def scan(self, place: Place, field: str, chosen: Chosen) -> Iterator[Found]:
        classes = place.folders()
        if not classes:
            raise InvalidArgument(
                f"{place.uri} has no folders; put the images of each class into a folder with the "
                "name of the class",
                field=field,
                reason="NO_CLASS_FOLDERS",
            )
        filled, names = set(), _own_names(place)
        for found in place.files():
            if isinstance(found, RejectedFile):
                # A folder that cannot be read is not empty.
                filled.add(found.path.partition("/")[0])
                yield found
                continue
            class_name, slash, _ = found.partition("/")
            if not slash:
                yield RejectedFile(
                    found, "NO_CLASS", f"{found} lies in no class folder; move it into one"
                )
                continue
            filled.add(class_name)
            yield Entry(found, names.get(class_name, class_name), partial(place.read, found))
        for name in classes:
            if name not in filled:
                yield Note(f"the class folder {name!r} of {place.uri} holds no files")


def _own_names(place: Place) -> dict[str, str]:
    """Returns the classes by folder that the manifest of our own output tells; else nothing."""
    try:
        with place.open(_MANIFEST) as file:
            table = pq.read_table(file, columns=["class_name", "file_name"])
    except (OSError, ServiceError, ValueError, pa.ArrowException):
        return {}
    pairs = ((str(row["file_name"]), str(row["class_name"])) for row in table.to_pylist())
    return {file.partition("/")[0]: name for file, name in pairs}


SOURCE = FolderSource()
