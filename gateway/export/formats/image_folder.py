"""An ImageFolder: OUT/CLASS/ITEM_ID.png, as torchvision and Hugging Face's `datasets` read it.

`metadata.parquet` is what `load_dataset("imagefolder", data_dir=OUT)` looks for: the manifest
without what only variegate needs, and with seeds as text, since `datasets` takes no number above
2^63 there. The manifest has one column more, `imagefolder_label`: the number that torchvision's
ImageFolder gives a class, its place among the sorted folders. `label` is the dataset's own number.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from datafiles.ignored import is_ignored
from gateway.digests import sha256_of
from gateway.export.base import Row, parallel, suffix_of, write_file
from servicekit.storage import ObjectStore, to_key

METADATA = "metadata.parquet"

_LONGEST = 255  # bytes, of every usual file system
_UNSAFE = re.compile(r"[^\w.+ -]|^\.+", re.UNICODE)


class ImageFolder:
    """A folder per class."""

    id = "imagefolder"

    def layout(self, tables: Iterable[pa.Table]) -> "Folders":
        names: set[str] = set()
        for table in tables:
            names.update(map(str, table.column("class_name").unique().to_pylist()))
        return Folders({name: folder_of(name) for name in names})


class Folders:
    """The folders of some classes."""

    description = METADATA

    def __init__(self, folders: Mapping[str, str]) -> None:
        self._folders = folders
        self._numbers = {folder: at for at, folder in enumerate(sorted({*folders.values()}))}

    def columns(self, first: int, rows: Sequence[Row]) -> dict[str, list[Any]]:
        folders = [self._folders[row["class_name"]] for row in rows]
        return {
            "file_name": [
                f"{folder}/{row['item_id']}{suffix_of(row['image_uri'])}"
                for folder, row in zip(folders, rows, strict=True)
            ],
            "imagefolder_label": [self._numbers[folder] for folder in folders],
        }

    def write(
        self, store: ObjectStore, rows: Iterable[Row], out: Path, *, overwrite: bool
    ) -> Iterator[bool]:
        def one(row: Row) -> bool:
            path = out / row["file_name"]
            if not overwrite and path.is_file() and sha256_of(path.read_bytes()) == row["sha256"]:
                return False
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, store.get(to_key(row["image_uri"])))
            return True

        yield from parallel(one, rows)

    def described(self, manifest: pa.Table) -> pa.Table:
        table = manifest.drop_columns(["image_uri", "lineage"])
        at = table.schema.get_field_index("seed")
        return table.set_column(at, "seed", table.column("seed").cast(pa.string()))


def folder_of(class_name: str) -> str:
    """Returns a folder name for a class: its own where the file system takes it and readers see it.

    Others (with "/", too long, or hidden) get one of their own; the manifest says whose it is.
    """
    legal = "/" not in class_name and "\0" not in class_name and not is_ignored(class_name)
    if class_name.strip() and legal and len(class_name.encode()) <= _LONGEST:
        return class_name
    safe = _UNSAFE.sub("_", class_name).strip(" .")[:40]
    return f"{safe or 'class'}-{sha256_of(class_name.encode())[:8]}"


FORMAT = ImageFolder()
