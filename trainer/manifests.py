"""Reads the manifests of datasets and of synthetic images."""

import hashlib
import io
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from servicekit.errors import Precondition
from servicekit.storage import ObjectStore, to_key

_DATASET_COLUMNS = ["item_id", "image_uri", "label", "class_name", "split", "sha256"]
# With what stands in for one that a manifest lacks, or for an empty value.
_DATASET_OPTIONAL: Mapping[str, Any] = {"source": "", "width": 0, "height": 0}
_REPEATED = {"split", "class_name"}
_SYNTHETIC_COLUMNS = ["item_id", "image_uri", "label", "class_name", "sha256", "source", "parents"]


@dataclass(frozen=True, slots=True)
class Item:
    """One image of a dataset. `split` is "train" or "test", `sha256` is that of the file.

    `source` is its place where it came from, and `width` and `height` are in pixels: "" and 0 where
    the manifest does not tell.
    """

    item_id: str
    image_uri: str
    label: int
    class_name: str
    split: str
    sha256: str
    source: str = ""
    width: int = 0
    height: int = 0


@dataclass(frozen=True, slots=True)
class SyntheticItem:
    """One generated or retrieved image; `parents` are the dataset items it was made from."""

    item_id: str
    image_uri: str
    label: int
    class_name: str
    sha256: str
    source: str
    parents: tuple[str, ...]


@dataclass(frozen=True)
class Manifest:
    """A dataset's images and the digest of its manifest."""

    digest: str
    items: tuple[Item, ...]


@dataclass(frozen=True)
class SyntheticManifest:
    """Synthetic images and the digest of their manifest."""

    digest: str
    items: tuple[SyntheticItem, ...]


def read_dataset(store: ObjectStore, uri: str) -> Manifest:
    """Reads a dataset manifest. Raises NotFound, or Precondition if it is not one."""
    data = store.get(to_key(uri, "training_run.manifest_uri"))
    columns = _columns(data, uri, _DATASET_COLUMNS, _DATASET_OPTIONAL)
    items = tuple(Item(*row) for row in zip(*columns, strict=True))
    return Manifest(hashlib.sha256(data).hexdigest(), items)


def read_synthetic(store: ObjectStore, uri: str) -> SyntheticManifest:
    """Reads a manifest of synthetic images. Raises NotFound, or Precondition if it is not one."""
    data = store.get(to_key(uri, "training_run.synthetic_manifest_uri"))
    columns = _columns(data, uri, _SYNTHETIC_COLUMNS)
    parents = [tuple(names or ()) for names in columns.pop()]
    items = tuple(SyntheticItem(*row) for row in zip(*columns, parents, strict=True))
    return SyntheticManifest(hashlib.sha256(data).hexdigest(), items)


def _columns(
    data: bytes, uri: str, names: Sequence[str], optional: Mapping[str, Any] = {}
) -> list[list[Any]]:
    try:
        file = pq.ParquetFile(io.BytesIO(data))
        known = file.schema_arrow.names
        missing = [name for name in names if name not in known]
        if missing:
            raise _invalid(uri, f"it has no column {', '.join(missing)}")
        table = file.read(columns=[*names, *(name for name in optional if name in known)])
    except (pa.ArrowInvalid, OSError) as error:
        raise _invalid(uri, f"it cannot be read as parquet ({error})") from error
    empty = [name for name in names if name != "parents" and table.column(name).null_count]
    if empty:
        raise _invalid(uri, f"its column {empty[0]} has empty values")
    columns = [_values(table, name) for name in names]
    for name, default in optional.items():
        values = table.column(name).to_pylist() if name in known else [default] * len(table)
        columns.append([default if value is None else value for value in values])
    return columns


def _values(table: pa.Table, name: str) -> list[Any]:
    """The values of a column; those of a few different ones are the same objects."""
    values: list[Any] = table.column(name).to_pylist()
    return list(map(sys.intern, values)) if name in _REPEATED else values


def _invalid(uri: str, why: str) -> Precondition:
    return Precondition(
        f"{uri} is not a usable manifest: {why}; write it again",
        subject=uri,
        reason="MANIFEST_INVALID",
    )
