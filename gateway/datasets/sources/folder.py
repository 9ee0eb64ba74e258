"""A folder per class: FOLDER/CLASS/any/depth/IMAGE."""

from collections.abc import Iterator
from functools import partial

from datafiles.places.place import Place
from datafiles.rejected import RejectedFile
from datafiles.samples import Chosen
from datafiles.shards import shards_among
from gateway.datasets.source import Entry, Found, Note
from servicekit.errors import InvalidArgument


class FolderSource:
    """Takes the first folder of a path as the class; files outside class folders are left out."""

    id = "folder"

    def fits(self, place: Place, chosen: Chosen) -> bool:
        if place.folders():
            return True
        files = [found if isinstance(found, str) else found.path for found in place.files()]
        return bool(files) and not shards_among(files)

    def scan(self, place: Place, field: str, chosen: Chosen) -> Iterator[Found]:
        classes = place.folders()
        if not classes:
            raise InvalidArgument(
                f"{place.uri} has no folders; put the images of each class into a folder with the "
                "name of the class, or a table beside them: metadata.csv with file_name and label",
                field=field,
                reason="NO_CLASS_FOLDERS",
            )
        filled = set()
        for found in place.files():
            if isinstance(found, RejectedFile):
                # A folder that cannot be read is not empty.
                filled.add(found.path.partition("/")[0])
                yield found
                continue
            class_name, slash, _ = found.partition("/")
            if not slash:
                yield RejectedFile(
                    found, "NO_CLASS", f"{found} is in no class folder; move it into one"
                )
                continue
            filled.add(class_name)
            yield Entry(found, class_name, partial(place.read, found))
        for name in classes:
            if name not in filled:
                yield Note(f"the class folder {name!r} of {place.uri} holds no files")


SOURCE = FolderSource()
