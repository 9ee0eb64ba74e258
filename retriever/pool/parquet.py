"""Parquet files of images with their captions, classes and anything else that is known."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from datafiles.columns import Columns, columns_of, rows_of
from datafiles.labels import CLASS_NAME, LABEL, Label
from datafiles.rejected import RejectedFile
from datafiles.texts import Unreadable
from retriever.pool.base import PoolRow, ShardBroken, class_of, encodable, scalars
from servicekit.storage import ObjectStore, to_key

_BATCH = 256


@dataclass(frozen=True)
class ParquetShard:
    """One file with the column image_uri, or one that holds image files: `image` (bytes, or a
    struct with a field `bytes`), or another of `datafiles.columns.IMAGE_COLUMNS`.
    """

    uri: str
    identity: str
    size: int

    def read(self, store: ObjectStore) -> tuple[int, Iterator[PoolRow | RejectedFile]]:
        data = store.get(to_key(self.uri))
        try:
            file = pq.ParquetFile(pa.BufferReader(data))
            columns = columns_of(file.schema_arrow)
        except Unreadable as error:
            raise ShardBroken("POOL_COLUMNS", f"{self.uri} {error.message}") from error
        # Corruption shows as any of these.
        except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
            raise ShardBroken(
                "NOT_PARQUET", f"{self.uri} is not a parquet file: {error}"
            ) from error
        names = file.schema_arrow.names
        if not columns.image and "image_uri" not in names:
            raise ShardBroken(
                "POOL_COLUMNS",
                f"the pool {self.uri} has the columns {', '.join(names)}; it needs image_uri, or "
                "image with a field bytes",
            )
        return file.metadata.num_rows, self._rows(file, columns)

    def _rows(self, file: pq.ParquetFile, columns: Columns) -> Iterator[PoolRow]:
        schema = file.schema_arrow
        kept = {columns.image, *columns.labels}
        wanted = [name for name in schema.names if name in kept or _is_plain(schema, name)]
        number = 0
        try:
            for batch in file.iter_batches(batch_size=_BATCH, columns=wanted):
                for values in rows_of(batch):
                    yield _row(values, columns, f"{self.uri}, row {number}")
                    number += 1
        except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
            raise ShardBroken("DAMAGED", f"{self.uri} is damaged: {error}") from error


def _is_plain(schema: pa.Schema, name: str) -> bool:
    kind, types = schema.field(name).type, pa.types
    if isinstance(kind, pa.DictionaryType):
        kind = kind.value_type
    checks = (types.is_string, types.is_large_string, types.is_integer, types.is_floating)
    return any(check(kind) for check in (*checks, types.is_boolean))


def _row(values: dict[str, Any], columns: Columns, name: str) -> PoolRow:
    problems: list[Unreadable] = []
    label = Label()
    try:
        label = columns.label(values) if columns.labels else label
    except Unreadable as error:
        problems.append(error)
    for column, value in values.items():
        if isinstance(value, Unreadable):
            problems.append(value)
            values[column] = None
    data = values.pop(columns.image, None)
    if isinstance(data, dict):
        data = data.get("bytes")
    uri, caption = (values.pop(known, None) for known in ("image_uri", "caption"))
    number, class_name = class_of(label)
    return PoolRow(
        data=data,
        image_uri=str(uri or ""),
        caption=encodable(str(caption or "")),
        label=number,
        class_name=class_name,
        extras=scalars({key: one for key, one in values.items() if key not in (CLASS_NAME, LABEL)}),
        name=name,
        problems=tuple(
            RejectedFile(name, one.reason, f"{name}: {one.message}")
            for one in dict.fromkeys(problems)
        ),
    )
