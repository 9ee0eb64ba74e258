"""The manifests of an augmentation: accepted images with their lineage, rejected ones with reasons.

Nothing here depends on time, order or batches, so an interrupted and resumed run writes the bytes
of an undisturbed one.
"""

import io
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gateway.digests import Plain, canonical
from gateway.plan import Item, Plan
from gateway.run.outcomes import Outcome

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


@dataclass
class Output:
    """Rows in the order in which they were decided; sorted when they are written."""

    accepted: list[tuple[tuple[int, int, int], Row]] = field(default_factory=list)
    rejected: list[tuple[tuple[int, int, int], RejectedRow]] = field(default_factory=list)

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
        self.accepted.append((item.order, row))

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
        self.rejected.append((item.order, row))

    def accepted_file(self) -> bytes:
        """Returns the manifest of accepted images (parquet), sorted by class and index."""
        return write_rows(row for _, row in sorted(self.accepted, key=lambda pair: pair[0]))

    def rejected_file(self) -> bytes:
        """Returns the manifest of rejected images (parquet), sorted by class, index, attempt."""
        ordered = sorted(self.rejected, key=lambda pair: (pair[0], pair[1].item_id))
        return _parquet([asdict(row) for _, row in ordered], _REJECTED)


def write_rows(rows: Iterable[Row]) -> bytes:
    """Returns the parquet file of rows in the given order; equal rows give equal bytes."""
    return _parquet([{**asdict(row), "parents": list(row.parents)} for row in rows], _ACCEPTED)


def _lineage(item: Item, outcome: Outcome) -> str:
    scores: dict[str, Plain] = {
        "clip_score": outcome.clip_score,
        "unsafe_score": outcome.unsafe_score,
        "pixel_sha256": outcome.pixel_sha256,
    }
    return canonical({**item.lineage, "seed": item.slot.seed, "scores": scores})


def _parquet(rows: list[Mapping[str, Any]] | list[dict[str, Any]], schema: pa.Schema) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema), buffer, compression="zstd")
    return buffer.getvalue()
