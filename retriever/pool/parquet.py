"""Parquet files of images with their captions, classes and anything else that is known."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from retriever.pool.base import PoolRow, ShardBroken, class_of, scalars
from servicekit.storage import ObjectStore, to_key

# Columns that hold an image: ours, then img2dataset's, which names them after the encoding.
_IMAGE_COLUMNS = ("image", "jpg", "png", "webp")
_KNOWN = ("image_uri", "caption", "label", "class_name")
_BATCH = 256


@dataclass(frozen=True)
class ParquetShard:
    """One file with the column image_uri, or one that holds image files: `image` (bytes, or a
    struct with a field `bytes`), or `jpg`, `png`, `webp` as img2dataset writes them.
    """

    uri: str
    identity: str
    size: int

    def read(self, store: ObjectStore) -> tuple[int, Iterator[PoolRow]]:
        data = store.get(to_key(self.uri))
        try:
            file = pq.ParquetFile(pa.BufferReader(data))
        except (pa.ArrowException, OSError) as error:
            raise ShardBroken(
                "NOT_PARQUET", f"{self.uri} is not a parquet file: {error}"
            ) from error
        schema = file.schema_arrow
        image = next((name for name in _IMAGE_COLUMNS if _holds_bytes(schema, name)), None)
        if image is None and "image_uri" not in schema.names:
            raise ShardBroken(
                "POOL_COLUMNS",
                f"the pool {self.uri} has the columns {', '.join(schema.names)}; it needs "
                "image_uri, or image with a field bytes",
            )
        return file.metadata.num_rows, self._rows(file, image)

    def _rows(self, file: pq.ParquetFile, image: str | None) -> Iterator[PoolRow]:
        schema = file.schema_arrow
        columns = [name for name in schema.names if name == image or _is_plain(schema, name)]
        try:
            for batch in file.iter_batches(batch_size=_BATCH, columns=columns):
                yield from (_row(values, image) for values in batch.to_pylist())
        except (pa.ArrowException, OSError) as error:
            raise ShardBroken("DAMAGED", f"{self.uri} is damaged: {error}") from error


def _holds_bytes(schema: pa.Schema, name: str) -> bool:
    if name not in schema.names:
        return False
    kind = schema.field(name).type
    if isinstance(kind, pa.StructType):
        return kind.get_field_index("bytes") >= 0
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_plain(schema: pa.Schema, name: str) -> bool:
    kind, types = schema.field(name).type, pa.types
    checks = (types.is_string, types.is_large_string, types.is_integer, types.is_floating)
    return any(check(kind) for check in (*checks, types.is_boolean))


def _row(values: dict[str, Any], image: str | None) -> PoolRow:
    data = values.pop(image, None) if image else None
    if isinstance(data, dict):
        data = data.get("bytes")
    known = {name: values.pop(name, None) for name in _KNOWN}
    number, class_name = class_of(known["label"], known["class_name"])
    return PoolRow(
        data=data,
        image_uri=str(known["image_uri"] or ""),
        caption=str(known["caption"] or ""),
        label=number,
        class_name=class_name,
        extras=scalars(values),
    )
