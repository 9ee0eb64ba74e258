"""The accepted pictures of an augmentation in the store, so that no method repeats another's."""

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gateway.augment.seen import Seen
from servicekit.storage import ObjectStore, get_many

ENDING = ".decided.parquet"
_SCHEMA = pa.schema(
    [  # type: ignore[arg-type]
        pa.field("class_name", pa.string()),
        pa.field("item_id", pa.string()),
        pa.field("pixel_sha256", pa.string()),
        pa.field("perceptual_hash", pa.uint64()),
    ]
)
# Objects that are read at a time.
_READ = 16


def to_bytes(pictures: Sequence[Mapping[str, Any]], metadata: Mapping[bytes, bytes]) -> bytes:
    """Returns pictures, which have the fields of an Outcome and a class name, with metadata."""
    columns = [[row[name] for row in pictures] for name in _SCHEMA.names]
    schema = _SCHEMA.with_metadata(dict(metadata))
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns, schema=schema), buffer, compression="zstd")
    return buffer.getvalue()


def remember(data: bytes, seen: Seen) -> Mapping[bytes, bytes]:
    """Adds what was written to the pictures that were seen; returns the metadata."""
    table = pq.read_table(io.BytesIO(data))
    names, ids, pixels, hashes = (column.to_numpy() for column in table.columns)
    seen.remember(names, ids, pixels, hashes.astype(np.uint64))
    return table.schema.metadata or {}


def seen_below(store: ObjectStore, folders: Iterable[str]) -> Seen:
    """Returns the pictures that were accepted in some folders, which are of other methods."""
    seen = Seen()
    for folder in folders:
        keys = [key for key in store.list(f"{folder}/") if key.endswith(ENDING)]
        for first in range(0, len(keys), _READ):
            for data in get_many(store, keys[first : first + _READ]):
                remember(data, seen)
    return seen
