"""Embedded parts of a pool: what a build stores as it goes, so that an interrupted one goes on."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from retriever.encoder import Vectors
from retriever.parquet import from_parquet, to_parquet
from retriever.pool import Shard
from retriever.pool.tally import LeftOutFiles, Tally
from servicekit.storage import ObjectStore

# Raise it when a part of the same rows would change: stored ones are then made again.
_VERSION = 3


@dataclass(frozen=True)
class Part:
    """The usable images of some rows of a shard: vectors [n, d] and their metadata."""

    vectors: Vectors
    metadata: pa.Table
    failed_count: int
    # Whether the shard ends here.
    is_last: bool
    # What is not in it, or is in it without what is known: also files that are no images.
    left_out: Tally = field(default_factory=dict)


@dataclass(frozen=True)
class PartNotes:
    """What is remembered of a part while others are made."""

    key: str
    count: int
    schema: pa.Schema


class PartStore:
    """The parts of one build, named by what determines them."""

    def __init__(self, store: ObjectStore, index_id: str, encoder: str, rows_per_part: int) -> None:
        self._store, self._folder = store, f"indexes/{index_id}/shards"
        self._work = (str(_VERSION), encoder, str(rows_per_part))

    def key(self, shard: Shard, number: int) -> str:
        """Returns the key of part `number` of a shard."""
        digest = hashlib.sha256("\n".join((*self._work, shard.identity)).encode()).hexdigest()
        return f"{self._folder}/{digest[:24]}/{number:06d}.parquet"

    def find(self, key: str) -> Part | None:
        """Returns the part, if it was made."""
        return self.get(key) if self._store.exists(key) else None

    def get(self, key: str) -> Part:
        """Returns the part."""
        table = from_parquet(self._store.get(key))
        notes = table.schema.metadata
        width = int(notes[b"dimension"])
        vectors: Any = table["vector"].combine_chunks()
        values = vectors.flatten().to_numpy().reshape(-1, width).astype(np.float32)
        metadata = table.drop_columns(["vector"]).replace_schema_metadata(None)
        left_out = [LeftOutFiles(**one) for one in json.loads(notes[b"left_out"])]
        return Part(
            values,
            metadata,
            int(notes[b"failed_count"]),
            notes[b"is_last"] == b"1",
            {one.reason: one for one in left_out},
        )

    def put(self, key: str, part: Part) -> None:
        """Stores the part."""
        width = part.vectors.shape[1]
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(part.vectors.ravel()), width)
        table = part.metadata.append_column("vector", vectors)
        notes = {
            "dimension": str(width),
            "failed_count": str(part.failed_count),
            "is_last": str(int(part.is_last)),
            "left_out": json.dumps([asdict(one) for one in part.left_out.values()]),
        }
        self._store.put(key, to_parquet(table.replace_schema_metadata(notes)))

    def delete_all(self) -> None:
        """Removes the parts of this index, also those of other encoders."""
        for key in list(self._store.list(f"{self._folder}/")):
            self._store.delete(key)
