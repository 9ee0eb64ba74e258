"""An ImageFolder: OUT/CLASS/ITEM_ID.png."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from gateway.digests import sha256_of
from gateway.export.base import Row, image_suffix, parallel, write_file
from servicekit.storage import ObjectStore, to_key

_UNSAFE = re.compile(r"[^\w.+ -]|^\.+", re.UNICODE)


class ImageFolder:
    """A folder per class."""

    id = "imagefolder"

    def file_of(self, number: int, row: Row) -> str:
        return f"{folder_of(row['class_name'])}/{row['item_id']}{image_suffix(row)}"

    def write(
        self, store: ObjectStore, rows: Sequence[Row], out: Path, *, overwrite: bool
    ) -> Iterator[bool]:
        def one(row: Row) -> bool:
            path = out / self.file_of(0, row)
            if not overwrite and path.is_file() and sha256_of(path.read_bytes()) == row["sha256"]:
                return False
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, store.get(to_key(row["image_uri"])))
            return True

        yield from parallel(one, rows)


def folder_of(class_name: str) -> str:
    """Returns a folder name for a class: its own where that is safe on any file system."""
    safe = _UNSAFE.sub("_", class_name).strip(" .")[:100]
    return (
        safe
        if safe and safe == class_name
        else f"{safe or 'class'}-{sha256_of(class_name.encode())[:8]}"
    )


FORMAT = ImageFolder()
