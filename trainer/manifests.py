"""Reads the manifests of datasets and of synthetic images, as columns.

An object for each image would take ten times the memory, for as long as a run trains.
"""

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from servicekit.errors import Precondition
from servicekit.storage import ObjectStore, to_key

_SHARED: list[tuple[str, pa.DataType]] = [
    ("item_id", pa.string()),
    ("image_uri", pa.string()),
    ("label", pa.int64()),
    ("class_name", pa.string()),
    ("sha256", pa.string()),
    ("source", pa.string()),
]
# `split` is "train", "test" or "validation" and `sha256` that of the file. `source` is the place
# where an image came from, and `width` and `height` are in pixels: "" and 0 where the manifest does
# not tell.
_OF_DATASETS: list[tuple[str, pa.DataType]] = [
    ("split", pa.string()),
    ("width", pa.int64()),
    ("height", pa.int64()),
]
DATASET = pa.schema([*_SHARED, *_OF_DATASETS])
# `source` is "generated" or "retrieved", `parents` are the dataset items an image was made from.
SYNTHETIC = pa.schema([*_SHARED, ("parents", pa.list_(pa.string()))])
# What stands in for a column that a dataset's manifest lacks, or for an empty value.
_DEFAULTS: Mapping[str, Any] = {"source": "", "width": 0, "height": 0}
_PART = 4096
# What a lineage says of an artefact; those of one image are of one tuning.
_OF_TUNING = r'"uri":"store:(?P<tuning>tunings/[a-z0-9_-]+)/'
# Its stubs know too few functions.
_compute: Any = pyarrow.compute

# A pyarrow table; its stubs know less of columns than is used of them.
Images = Any


@dataclass(frozen=True)
class Manifest:
    """Images, a row each with the columns of DATASET or SYNTHETIC, and the digest of the file.

    `tunings` are the names of those with whose artefacts synthetic images were made, sorted.
    """

    digest: str
    images: Images
    tunings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)


NO_SYNTHETIC = Manifest("", pa.Table.from_pylist([], SYNTHETIC))


class Strings(Sequence[str]):
    """A column of texts as a sequence that makes each when it is asked for."""

    def __init__(self, column: Any) -> None:
        self._column = column

    def __len__(self) -> int:
        return len(self._column)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> list[str]: ...
    def __getitem__(self, place: int | slice) -> str | list[str]:
        if isinstance(place, slice):
            part: list[str] = self._column[place].to_pylist()
            return part
        return str(self._column[place])

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _PART):
            yield from self[start : start + _PART]


def read_dataset(store: ObjectStore, uri: str, field: str = "training_run") -> Manifest:
    """Reads a dataset manifest. Raises NotFound, or Precondition if it is not one.

    `field` is what the request calls the run that names it.
    """
    data = store.get(to_key(uri, f"{field}.manifest_uri"))
    return Manifest(hashlib.sha256(data).hexdigest(), _table(data, uri, DATASET, _DEFAULTS))


def read_synthetic(store: ObjectStore, uri: str) -> Manifest:
    """Reads a manifest of synthetic images. Raises NotFound, or Precondition if it is not one."""
    data = store.get(to_key(uri, "training_run.synthetic_manifest_uri"))
    images = _table(data, uri, SYNTHETIC, {})
    return Manifest(hashlib.sha256(data).hexdigest(), images, _tunings(data))


def _tunings(data: bytes) -> tuple[str, ...]:
    """The tunings whose artefacts the lineages name; a manifest without lineages has none."""
    file = pq.ParquetFile(io.BytesIO(data))
    if "lineage" not in file.schema_arrow.names:
        return ()
    found: set[str] = set()
    for batch in file.iter_batches(columns=["lineage"], batch_size=_PART):
        texts: Any = batch.column(0).cast(pa.string())
        found |= set(_compute.extract_regex(texts, _OF_TUNING).field("tuning").unique().to_pylist())
    return tuple(sorted(one for one in found if one))


def _table(data: bytes, uri: str, schema: pa.Schema, defaults: Mapping[str, Any]) -> Images:
    try:
        file = pq.ParquetFile(io.BytesIO(data))
        known = file.schema_arrow.names
        missing = [name for name in schema.names if name not in known and name not in defaults]
        if missing:
            raise _invalid(uri, f"it has no column {', '.join(missing)}")
        read = file.read(columns=[name for name in schema.names if name in known])
        columns = [_column(read, field, defaults.get(field.name)) for field in schema]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise _invalid(uri, f"it cannot be read as parquet ({error})") from error
    table = pa.Table.from_arrays(columns, schema=schema)
    empty = [name for name in schema.names if name != "parents" and table.column(name).null_count]
    if empty:
        raise _invalid(uri, f"its column {empty[0]} has empty values")
    return table


def _column(read: Images, field: Any, default: Any) -> Any:
    if field.name not in read.column_names:
        return pa.chunked_array([pa.repeat(pa.scalar(default, field.type), len(read))])
    column = read.column(field.name).cast(field.type)
    return column if default is None else column.fill_null(default)


def _invalid(uri: str, why: str) -> Precondition:
    return Precondition(
        f"{uri} is not a usable manifest: {why}; write it again",
        subject=uri,
        reason="MANIFEST_INVALID",
    )
