"""The dataset manifest: one parquet row per image, in one order whatever the import's."""

import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from datafiles.places.layout import TEST, TRAIN, VALIDATION
from gateway.digests import digest

_SPLITS = (TRAIN, TEST, VALIDATION)
_SCHEMA = pa.schema(
    [  # type: ignore[arg-type]
        pa.field("item_id", pa.string()),
        pa.field("image_uri", pa.string()),
        pa.field("label", pa.int32()),
        pa.field("class_name", pa.string()),
        pa.field("split", pa.string()),
        pa.field("sha256", pa.string()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("source", pa.string()),
        pa.field("note", pa.string()),
    ]
)


@dataclass(frozen=True)
class DatasetItem:
    """One image of a dataset. `source` is its place below the imported folder or file.

    `note` says what had to be assumed to read it, such as the range of its values.
    """

    item_id: str
    image_uri: str
    label: int
    class_name: str
    split: str
    sha256: str
    width: int
    height: int
    source: str
    note: str | None = None


def sort(items: Iterable[DatasetItem]) -> list[DatasetItem]:
    """Returns the items by split (train first, validation last), label and SHA-256."""
    return sorted(items, key=lambda i: (_SPLITS.index(i.split), i.label, i.sha256))


def digest_of(items: Sequence[DatasetItem]) -> str:
    """Returns the digest of what a dataset holds, whatever the files were called."""
    return digest([[i.item_id, i.label, i.class_name] for i in sort(items)], length=64)


def write(items: Iterable[DatasetItem]) -> bytes:
    """Returns the parquet file of the items; equal items give equal bytes."""
    table = pa.Table.from_pylist([asdict(item) for item in sort(items)], _SCHEMA)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def read(data: bytes) -> list[DatasetItem]:
    """Returns the items of a parquet file that `write` made; older ones have no notes."""
    table = pq.read_table(io.BytesIO(data))
    table = table.select([name for name in _SCHEMA.names if name in table.column_names])
    return [DatasetItem(**row) for row in table.to_pylist()]
