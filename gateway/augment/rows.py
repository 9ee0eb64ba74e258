"""The rows of an augmentation's manifests, and how they are written as parquet."""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

# Rows of a row group: some MiB, since whoever writes or reads one holds it unpacked.
GROUP = 4 * 1024
ACCEPTED = pa.schema(
    [  # type: ignore[arg-type]
        pa.field("item_id", pa.string()),
        pa.field("image_uri", pa.string()),
        pa.field("sha256", pa.string()),
        pa.field("label", pa.int32()),
        pa.field("class_name", pa.string()),
        pa.field("method", pa.string()),
        pa.field("source", pa.string()),
        pa.field("parents", pa.list_(pa.string())),
        pa.field("prompt", pa.string()),
        pa.field("seed", pa.uint64()),
        pa.field("model", pa.string()),
        pa.field("model_digest", pa.string()),
        pa.field("steps", pa.int32()),
        pa.field("guidance_scale", pa.float32()),
        pa.field("clip_score", pa.float32()),
        pa.field("unsafe_score", pa.float32()),
        pa.field("attempt", pa.int32()),
        pa.field("lineage", pa.string()),
    ]
)
REJECTED = pa.schema(
    [  # type: ignore[arg-type]
        pa.field("item_id", pa.string()),
        pa.field("image_uri", pa.string()),
        pa.field("label", pa.int32()),
        pa.field("class_name", pa.string()),
        pa.field("method", pa.string()),
        pa.field("prompt", pa.string()),
        pa.field("seed", pa.uint64()),
        pa.field("attempt", pa.int32()),
        pa.field("reason", pa.string()),
        pa.field("message", pa.string()),
    ]
)


@dataclass(frozen=True)
class ManifestRow:
    """One row of the manifest of accepted images."""

    item_id: str
    image_uri: str
    sha256: str
    label: int
    class_name: str
    method: str
    source: str
    parents: tuple[str, ...] = ()
    prompt: str = ""
    seed: int = 0
    model: str = ""
    model_digest: str = ""
    steps: int = 0
    guidance_scale: float = 0.0
    clip_score: float = -2.0
    unsafe_score: float = -1.0
    attempt: int = 0
    lineage: str = "{}"


@dataclass(frozen=True)
class RejectedRow:
    """One row of the manifest of rejected images."""

    item_id: str
    image_uri: str
    label: int
    class_name: str
    method: str
    prompt: str
    seed: int
    attempt: int
    reason: str
    message: str


def columns_of(row: ManifestRow) -> dict[str, Any]:
    """Returns a row of accepted images as the manifest has it."""
    return {**vars(row), "parents": list(row.parents)}


def table_of(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Returns rows as a table."""
    return pa.Table.from_pylist(list(rows), schema)


def to_chunks(tables: Iterable[pa.Table], schema: pa.Schema) -> Iterator[bytes]:
    """Yields the bytes of a parquet file with a row group for each table.

    Equal tables give equal bytes. No more than one group is held.
    """
    sink = _Sink()
    with pq.ParquetWriter(cast(IO[bytes], sink), schema, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table)
            del table  # It is large, and the next one is made from now on.
            yield sink.taken()
    yield sink.taken()


def write_rows(rows: Iterable[ManifestRow]) -> bytes:
    """Returns the parquet file of rows in the given order; equal rows give equal bytes."""
    columns = map(columns_of, rows)
    groups = iter(lambda: list(islice(columns, GROUP)), [])
    return b"".join(to_chunks((table_of(group, ACCEPTED) for group in groups), ACCEPTED))


class _Sink(io.RawIOBase):
    """Takes what is written, and is emptied now and then."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._place = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        chunk = bytes(data)
        self._chunks.append(chunk)
        self._place += len(chunk)
        return len(chunk)

    def tell(self) -> int:
        return self._place

    def taken(self) -> bytes:
        """Returns what was written since the last time."""
        chunk, self._chunks = b"".join(self._chunks), []
        return chunk
