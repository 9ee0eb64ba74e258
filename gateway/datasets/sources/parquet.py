"""Parquet files: image{bytes,path} (or binary) and class_name or label, as Hugging Face has them.

Which columns these are: see `datafiles.columns`.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from datafiles.columns import Columns, columns_of, rows_of
from datafiles.places.layout import check_one_split
from datafiles.places.place import Place
from datafiles.rejected import RejectedFile
from datafiles.samples import Chosen
from datafiles.shards import shards_among
from datafiles.suffixes import is_table
from datafiles.texts import Unreadable
from gateway.datasets.source import Entry, Found
from servicekit.errors import InvalidArgument

_ROWS = 256


class ParquetSource:
    """Takes the class from class_name, else from label, else from the one column of classes."""

    id = "parquet"

    def fits(self, place: Place, chosen: Chosen) -> bool:
        return is_table(place.uri) or bool(_tables(place))

    def scan(self, place: Place, field: str, chosen: Chosen) -> Iterator[Found]:
        if is_table(place.uri):
            yield from _scan(place, "", field, chosen)
            return
        yield from (found for found in place.files() if isinstance(found, RejectedFile))
        for path in _tables(place):
            try:
                yield from _scan(place, path, field, chosen)
            except InvalidArgument as error:
                yield RejectedFile(path, error.reason, error.message)


def _tables(place: Place) -> Sequence[str]:
    """Returns the parquet files below a place; none if there are archives, which they describe."""
    paths = [found for found in place.files() if isinstance(found, str)]
    found = shards_among(paths)
    return found if all(map(is_table, found)) else ()


def _scan(place: Place, path: str, field: str, chosen: Chosen) -> Iterator[Found]:
    """Yields the rows of a file. Raises InvalidArgument if it cannot be read at all."""
    name = path or place.uri
    prefix = f"{path}/" if path else ""
    try:
        with place.open(path) as file:
            yield from _rows(file, prefix, chosen)
    except Unreadable as error:
        hint = "" if chosen.image or chosen.label else "; name others as image and label column"
        raise InvalidArgument(
            f"{name} {error.message}{hint}", field=field, reason=error.reason
        ) from error
    # Corruption shows as any of these, at the start or in the middle.
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise InvalidArgument(
            f"{name} is not a parquet file that can be read: {error}",
            field=field,
            reason="BAD_PARQUET",
        ) from error


def _rows(file: BinaryIO, prefix: str, chosen: Chosen) -> Iterator[Found]:
    table = pq.ParquetFile(file)
    columns = columns_of(table.schema_arrow, chosen)
    if not columns.image or not columns.labels:
        names = ", ".join(sorted(table.schema_arrow.names))
        needed = "it needs image and class_name or label"
        raise Unreadable("COLUMNS_MISSING", f"has the columns {names}; {needed}")
    _refuse_splits(table)
    wanted = [columns.image, *columns.labels]
    number = 0
    for batch in table.iter_batches(batch_size=_ROWS, columns=wanted):
        for row in rows_of(batch):
            yield _entry(row, columns, prefix, number)
            number += 1


def _refuse_splits(table: pq.ParquetFile) -> None:
    """Raises Unreadable for a table whose column `split` says that its rows are of several."""
    schema = table.schema_arrow
    for name in schema.names:
        if name.casefold() == "split" and pa.types.is_string(schema.field(name).type):
            values = table.read(columns=[name]).column(name).unique().to_pylist()
            check_one_split(name, values)


def _entry(row: dict[str, Any], columns: Columns, prefix: str, number: int) -> Found:
    data, path = row[columns.image], f"{prefix}row {number}"
    if isinstance(data, dict):
        inner = data.get("path")
        data, path = data.get("bytes"), f"{prefix}{inner}" if isinstance(inner, str) else path
    try:
        label = columns.label(row)
    except Unreadable as error:
        return RejectedFile(path, error.reason, f"{path}: {error.message}")
    if not label.text:
        return RejectedFile(path, "NO_CLASS", f"{path} has no class")
    if not isinstance(data, bytes):
        return RejectedFile(path, "EMPTY", f"{path} has no image bytes")
    return Entry(path, label.text, partial(bytes, data))


SOURCE = ParquetSource()
