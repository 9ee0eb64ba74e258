"""What an export writes beside its images: manifest, description and lineage, as the rows go by."""

import json
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from gateway.augment.tables import Manifest
from gateway.export.annotations import Origin, annotated, for_json, lineage_for_json, names_of
from gateway.export.base import Layout, Row, written

MANIFEST, LINEAGE = "manifest.parquet", "lineage.jsonl"
# Rows that are unpacked at a time.
_ROWS = 1024


class FilesBeside:
    """The files beside the images, written as the rows go by. A context manager: they have their
    names once it has ended well, the manifest last."""

    def __init__(self, out: Path, layout: Layout) -> None:
        self._out, self._layout = out, layout
        self.counts: Counter[str] = Counter()
        self._folders: set[tuple[str, str]] = set()
        self._labels: set[tuple[Any, Any]] = set()

    def __enter__(self) -> "FilesBeside":
        name = self._layout.description
        with ExitStack() as files:
            opened = files.enter_context
            self._manifest = opened(Table(opened(written(self._out / MANIFEST))))
            self._described = opened(Table(opened(written(self._out / name)))) if name else None
            self._lineage = opened(written(self._out / LINEAGE))
            self._files = files.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._files.__exit__(*error)

    def rows(self, manifest: Manifest, origin: Origin) -> Iterator[Row]:
        """Yields all rows with the format's columns; nothing of those before is held."""
        names = dict(origin.class_names)
        for table in manifest.groups("label", "class_name"):
            names |= names_of(table)
        first = 0
        for table in manifest.groups():
            some = table.select(["item_id", "class_name", "image_uri"]).to_pylist()
            columns = self._layout.columns(first, some)
            whole = annotated(table, columns, replace(origin, class_names=names))
            self._manifest.write(whole)
            if self._described:
                self._described.write(self._layout.described(whole))
            for start in range(0, len(whole), _ROWS):
                yield from map(self._noted, _json_rows(whole.slice(start, _ROWS)))
            first += len(whole)

    def _noted(self, row: Row) -> Row:
        self._lineage.write(f"{json.dumps(_unfolded(row), sort_keys=True)}\n".encode())
        name = row["class_name"]
        self.counts[name] += 1
        self._folders.add((name, row["file_name"].rpartition("/")[0]))
        self._labels.add((row["label"], row.get("imagefolder_label", row["label"])))
        return row

    def notes(self) -> tuple[str, ...]:
        """Returns what people should know about the folder."""
        return (*_renamed(self._folders), *_numbered(self._labels))


class Table:
    """A parquet file that is written group by group. A context manager."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._writer: pq.ParquetWriter | None = None

    def write(self, table: pa.Table) -> None:
        """Adds a row group. Equal tables give equal bytes."""
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._file, table.schema, compression="zstd")
        self._writer.write_table(table)

    def __enter__(self) -> "Table":
        return self

    def __exit__(self, *error: object) -> None:
        if self._writer:
            self._writer.close()


def _json_rows(manifest: pa.Table) -> list[Row]:
    rows: list[Row] = manifest.to_pylist()
    return [{**row, "lineage": lineage_for_json(row["lineage"])} for row in rows]


def _unfolded(row: Row) -> Row:
    unfolded: Row = for_json({**row, "lineage": json.loads(row["lineage"])})
    return unfolded


def _renamed(folders: Collection[tuple[str, str]]) -> list[str]:
    """Says which classes have folders of other names."""
    return [
        f"the class {name!r} is in the folder {folder!r}, since no folder can have its name"
        for name, folder in sorted(folders)
        if folder and folder != name and not folder.endswith(".tar")
    ]


def _numbered(labels: Collection[tuple[Any, Any]]) -> tuple[str, ...]:
    if all(own == theirs for own, theirs in labels):
        return ()
    return (
        "the column label of the manifest numbers the classes as the dataset does; torchvision's "
        "ImageFolder numbers those of this folder otherwise: see its column imagefolder_label",
    )
