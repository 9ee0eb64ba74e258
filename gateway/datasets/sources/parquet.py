"""A parquet file with the columns image{bytes,path} (or binary) and class_name or label."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gateway.datasets.places import Place
from gateway.datasets.source import Entry, Found
from gateway.resources import RejectedFile
from servicekit.errors import InvalidArgument


class ParquetSource:
    """Takes the class from class_name, else from label."""

    id = "parquet"

    def fits(self, place: Place) -> bool:
        return place.uri.lower().endswith(".parquet")

    def scan(self, place: Place, field: str) -> Iterator[Found]:
        table = _read(place, field)
        names = set(table.column_names)
        label = next((name for name in ("class_name", "label") if name in names), None)
        if "image" not in names or label is None:
            raise InvalidArgument(
                f"{place.uri} has the columns {', '.join(sorted(names))}; it needs image and "
                "class_name or label",
                field=field,
                reason="COLUMNS_MISSING",
            )
        number = 0
        for batch in table.select(["image", label]).to_batches(max_chunksize=1024):
            for row in batch.to_pylist():
                yield _entry(row["image"], row[label], f"row {number}")
                number += 1


def _read(place: Place, field: str) -> pa.Table:
    try:
        with place.open() as file:
            return pq.read_table(file)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OSError) as error:
        raise InvalidArgument(
            f"{place.uri} is not a parquet file that can be read: {error}",
            field=field,
            reason="BAD_PARQUET",
        ) from error


def _entry(image: Any, class_name: Any, path: str) -> Found:
    data = image
    if isinstance(image, dict):
        data, path = image.get("bytes"), image.get("path") or path
    if class_name is None or str(class_name).strip() == "":
        return RejectedFile(path, "NO_CLASS", f"{path} has no class")
    if not isinstance(data, bytes):
        return RejectedFile(path, "EMPTY", f"{path} has no image bytes")
    return Entry(path, str(class_name), partial(bytes, data))


SOURCE = ParquetSource()
