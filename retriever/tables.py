"""What is known about the images of an index, as tables: one row per vector, in its order."""

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from retriever.pool.base import Scalar
from retriever.pool.reading import PoolImage

NUMBER, TEXT = "number", "text"
_TYPES = {NUMBER: pa.float64(), TEXT: pa.string()}

# Columns that every index has. The last two tell copies and are no business of filters.
SCHEMA: pa.Schema = pa.schema(
    [  # type: ignore[arg-type]
        pa.field("image_uri", pa.string()),
        pa.field("sha256", pa.string()),
        pa.field("caption", pa.string()),
        pa.field("label", pa.int64()),
        pa.field("class_name", pa.string()),
        pa.field("width", pa.int64()),
        pa.field("height", pa.int64()),
        pa.field("pixel_sha256", pa.string()),
        pa.field("thumbnail", pa.binary()),
    ]
)
RESERVED = frozenset({*SCHEMA.names, "vector"})
_FIXED = {
    "caption": TEXT,
    "label": NUMBER,
    "class_name": TEXT,
    "width": NUMBER,
    "height": NUMBER,
}


def to_table(images: Sequence[PoolImage]) -> pa.Table:
    """Returns the rows of images, with whatever else their pool says of them."""
    columns: dict[str, list[object]] = {
        "image_uri": [one.image_uri for one in images],
        "sha256": [one.sha256 for one in images],
        "caption": [one.row.caption for one in images],
        "label": [one.row.label for one in images],
        "class_name": [one.row.class_name for one in images],
        "width": [one.image.width for one in images],
        "height": [one.image.height for one in images],
        "pixel_sha256": [one.pixel_sha256 for one in images],
        "thumbnail": [one.thumbnail.tobytes() for one in images],
    }
    table = pa.table(columns, schema=SCHEMA)
    names = sorted({name for one in images for name in one.row.extras} - RESERVED)
    for name in names:
        table = table.append_column(name, _column([one.row.extras.get(name) for one in images]))
    return table


def columns_of(tables: Iterable[pa.Schema]) -> dict[str, str]:
    """Returns the columns that filters can use, and whether each holds numbers or text.

    A column that is text in one part of a pool is text in all.
    """
    found = dict(_FIXED)
    for schema in tables:
        for name in schema.names:
            if name not in SCHEMA.names:
                text = pa.types.is_string(schema.field(name).type)
                found[name] = TEXT if text or found.get(name) == TEXT else NUMBER
    return found


def conformed(table: pa.Table, columns: dict[str, str]) -> pa.Table:
    """Returns the table with exactly these further columns; what it lacks is null."""
    extras = {name: kind for name, kind in columns.items() if name not in SCHEMA.names}
    conform = table.select(SCHEMA.names)
    for name, kind in extras.items():
        if name in table.column_names:
            column: Any = pc.cast(table[name], _TYPES[kind])
        else:
            column = pa.array([None] * table.num_rows, _TYPES[kind])
        conform = conform.append_column(name, column)
    return conform.replace_schema_metadata(None)


def _column(values: Sequence[Scalar | None]) -> Any:
    if any(isinstance(value, str) for value in values):
        return pa.array([None if one is None else str(one) for one in values], pa.string())
    return pa.array(values, pa.float64())
