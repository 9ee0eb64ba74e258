"""The manifests of an augmentation: accepted images with their lineage, rejected ones with reasons.

Nothing here depends on time, order or batches, so an interrupted and resumed run writes the bytes
of an undisturbed one.
"""

import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gateway.digests import Plain, canonical
from gateway.plan import Item, Plan
from gateway.run.outcomes import Outcome

# Rows that are compressed, and that are written, at a time.
_BATCH, _WRITTEN = 1024, 32 * 1024
_ORDER = ("_label", "_index", "_attempt")
_SORTED: list[tuple[str, Literal["ascending", "descending"]]] = [
    (key, "ascending") for key in (*_ORDER, "item_id")
]
_PLACES = pa.schema(
    [  # type: ignore[arg-type]
        *(pa.field(key, pa.int64()) for key in _ORDER),
        pa.field("item_id", pa.string()),
    ]
)
_COMPRESSED = pa.ipc.IpcWriteOptions(compression="zstd")
_ACCEPTED = pa.schema(
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
_REJECTED = pa.schema(
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
class Row:
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


class Output:
    """Rows in the order in which they were decided; sorted when they are written.

    They are kept as columns: some hundred thousand objects with what they hold would be visited by
    every full run of the garbage collector.
    """

    def __init__(self) -> None:
        self._accepted, self._rejected = _Rows(_ACCEPTED), _Rows(_REJECTED)
        # Accepted images by class, and reasons of rejected ones by class.
        self.made: Counter[str] = Counter()
        self.reasons: dict[str, Counter[str]] = defaultdict(Counter)
        self.first_rejected: RejectedRow | None = None

    @property
    def accepted_count(self) -> int:
        """Number of accepted images."""
        return self.made.total()

    @property
    def rejected_count(self) -> int:
        """Number of rejected images."""
        return sum(reasons.total() for reasons in self.reasons.values())

    def accept(self, plan: Plan, item: Item, outcome: Outcome, **how: Any) -> None:
        """Adds an accepted image. `how` holds columns that depend on the kind of method."""
        row = Row(
            item_id=item.item_id,
            image_uri=outcome.image_uri,
            sha256=outcome.sha256,
            label=item.slot.label,
            class_name=item.slot.class_name,
            method=plan.method.id,
            parents=item.parents,
            prompt=item.prompt,
            seed=item.slot.seed,
            model_digest=outcome.model_digest,
            steps=outcome.steps,
            guidance_scale=outcome.guidance_scale,
            clip_score=outcome.clip_score,
            unsafe_score=outcome.unsafe_score,
            attempt=item.slot.attempt,
            lineage=_lineage(item, outcome),
            **how,
        )
        self.made[row.class_name] += 1
        self._accepted.add(item.order, _columns(row))

    def reject(self, plan: Plan, item: Item, outcome: Outcome, reason: str, message: str) -> None:
        """Adds a rejected image."""
        row = RejectedRow(
            item_id=item.item_id,
            image_uri=outcome.image_uri,
            label=item.slot.label,
            class_name=item.slot.class_name,
            method=plan.method.id,
            prompt=item.prompt,
            seed=item.slot.seed,
            attempt=item.slot.attempt,
            reason=reason,
            message=message,
        )
        self.first_rejected = self.first_rejected or row
        self.reasons[row.class_name][reason] += 1
        self._rejected.add(item.order, vars(row))

    def accepted(self, *columns: str) -> Iterator[dict[str, Any]]:
        """Yields some columns of the accepted images, in the order in which they were decided."""
        return self._accepted.rows(columns)

    def accepted_file(self) -> bytes:
        """Returns the manifest of accepted images (parquet), sorted by class and index."""
        return self._accepted.file()

    def rejected_file(self) -> bytes:
        """Returns the manifest of rejected images (parquet), sorted by class, index, attempt."""
        return self._rejected.file()


class _Rows:
    """Rows of a table, `_BATCH` at a time turned into columns and compressed.

    Nine tenths of a row are said in its neighbours, too, so that a compressed one takes some 150
    bytes. Where it belongs in the order is kept as it is.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._batches: list[pa.Buffer] = []
        self._places: list[pa.RecordBatch] = []
        self._newest: list[Mapping[str, Any]] = []
        self._newest_places: list[Mapping[str, Any]] = []

    def add(self, order: tuple[int, int, int], row: Mapping[str, Any]) -> None:
        self._newest.append(row)
        place = dict(zip(_ORDER, order, strict=True))
        self._newest_places.append({**place, "item_id": row["item_id"]})
        if len(self._newest) == _BATCH:
            self._flush()

    def file(self) -> bytes:
        """Returns the parquet file of all rows, sorted by order and id."""
        self._flush()
        places = pa.Table.from_batches(self._places, _PLACES)
        indices = pc.sort_indices(places, sort_keys=_SORTED).to_numpy()
        buffer = io.BytesIO()
        with pq.ParquetWriter(buffer, self._schema, compression="zstd") as writer:
            for first in range(0, len(indices), _WRITTEN):
                writer.write_table(self._taken(indices[first : first + _WRITTEN]))
        return buffer.getvalue()

    def rows(self, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        self._flush()
        for number in range(len(self._batches)):
            yield from self._read(number).select(list(columns)).to_pylist()

    def _taken(self, indices: NDArray[np.uint64]) -> pa.Table:
        """Returns some rows. Neighbours in the order were mostly added together, so that few
        batches are needed for them."""
        lengths = np.array([len(places) for places in self._places])
        ends = np.cumsum(lengths)
        numbers = np.searchsorted(ends, indices, side="right")
        needed, which = np.unique(numbers, return_inverse=True)
        begins = np.cumsum(lengths[needed]) - lengths[needed]
        rows = begins[which] + indices.astype(np.int64) - (ends - lengths)[numbers]
        table = pa.Table.from_batches([self._read(number) for number in needed], self._schema)
        return table.take(pa.array(rows))

    def _read(self, number: int) -> pa.RecordBatch:
        return pa.ipc.open_stream(self._batches[number]).read_next_batch()

    def _flush(self) -> None:
        if not self._newest:
            return
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self._schema, options=_COMPRESSED) as stream:
            stream.write_batch(pa.RecordBatch.from_pylist(self._newest, self._schema))
        self._batches.append(sink.getvalue())
        self._places.append(pa.RecordBatch.from_pylist(self._newest_places, _PLACES))
        self._newest, self._newest_places = [], []


def write_rows(rows: Iterable[Row]) -> bytes:
    """Returns the parquet file of rows in the given order; equal rows give equal bytes."""
    table = _Rows(_ACCEPTED)
    for number, row in enumerate(rows):
        table.add((0, number, 0), _columns(row))
    return table.file()


def _columns(row: Row) -> dict[str, Any]:
    return {**vars(row), "parents": list(row.parents)}


def _lineage(item: Item, outcome: Outcome) -> str:
    scores: dict[str, Plain] = {
        "clip_score": outcome.clip_score,
        "unsafe_score": outcome.unsafe_score,
        "pixel_sha256": outcome.pixel_sha256,
    }
    return canonical({**item.lineage, "seed": item.slot.seed, "scores": scores})
