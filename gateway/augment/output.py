"""The manifests of an augmentation: accepted images with their lineage, rejected ones with reasons.

Nothing here depends on time, order or batches, so an interrupted and resumed run writes the bytes
of an undisturbed one.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import pyarrow as pa

from gateway.augment.choice import Choice
from gateway.augment.outcomes import Outcome
from gateway.augment.parts import Parts, Source
from gateway.augment.rows import ACCEPTED, REJECTED, ManifestRow, RejectedRow, columns_of, to_chunks
from gateway.digests import Plain, canonical
from gateway.plan import Item, Plan
from servicekit.errors import Precondition
from servicekit.storage import ObjectStore


@dataclass
class Counts:
    """How many images were accepted, and rejected for each reason, by class."""

    made: Counter[str]
    reasons: dict[str, Counter[str]]

    @classmethod
    def none(cls) -> "Counts":
        """Returns those of no image."""
        return cls(Counter(), defaultdict(Counter))

    @property
    def accepted_count(self) -> int:
        """Number of accepted images."""
        return self.made.total()

    @property
    def rejected_count(self) -> int:
        """Number of rejected images."""
        return sum(reasons.total() for reasons in self.reasons.values())

    def add(self, other: "Counts") -> None:
        """Adds others."""
        self.made.update(other.made)
        for name, reasons in other.reasons.items():
            self.reasons[name].update(reasons)

    def to_plain(self) -> dict[str, Any]:
        """Returns them as a step's result."""
        return {"made": dict(self.made), "reasons": {k: dict(v) for k, v in self.reasons.items()}}

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> "Counts":
        """Returns those that a step recorded."""
        found = cls.none()
        found.made.update(values["made"])
        for name, reasons in values["reasons"].items():
            found.reasons[name].update(reasons)
        return found


class Output:
    """Rows in the object store, in parts that are written as the rows come; merged at the end."""

    def __init__(
        self,
        store: ObjectStore,
        *sources: Source,
        counts: Counts | None = None,
        decided: Callable[[str], None] = lambda outcome: None,
    ) -> None:
        """`sources` hold the parts, the first of them the new ones; `counts` are those of the rows
        that they have already. `decided` is told of each image: ACCEPTED, or why it is not."""
        self._store, self._decided = store, decided
        self._accepted = Parts(store, sources, "accepted", ACCEPTED, Choice.kept)
        self._unkept = Parts(store, sources, "accepted", ACCEPTED, Choice.left)
        self._rejected = Parts(store, sources, "rejected", REJECTED)
        self.counts = counts or Counts.none()
        self._newest: tuple[list[dict[str, Any]], list[dict[str, Any]]] = [], []

    def accept(self, plan: Plan, item: Item, outcome: Outcome, **how: Any) -> None:
        """Adds an accepted image. `how` holds columns that depend on the kind of method."""
        row = ManifestRow(
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
        self.counts.made[row.class_name] += 1
        self._decided("ACCEPTED")
        self._newest[0].append({**columns_of(row), "_index": item.slot.index})

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
        self.counts.reasons[row.class_name][reason] += 1
        # An image that could not be made has a reason of its own before the words.
        self._decided(message.partition(":")[0] if reason == "FAILED" else reason)
        self._newest[1].append({**vars(row), "_index": item.slot.index})

    @property
    def newest_count(self) -> int:
        """Number of rows that are in no part yet."""
        return sum(map(len, self._newest))

    def put(self, run: int, number: int) -> None:
        """Writes the rows since the last time as a part of a run.

        Within a run rows come in the order of class, index and attempt, or nearly: those of one
        part in any.
        """
        accepted, rejected = self._newest
        self._newest = [], []
        self._accepted.put(run, number, accepted)
        self._rejected.put(run, number, rejected)

    def accepted(self, *columns: str) -> Iterator[pa.Table]:
        """Yields some columns of the accepted images, a part at a time."""
        return self._accepted.tables(*columns)

    def unkept(self, *columns: str) -> Iterator[pa.Table]:
        """Yields some columns of the images that a choice does not keep, a part at a time."""
        return self._unkept.tables(*columns)

    def write_unkept(self, key: str) -> str:
        """Writes the manifest of those that a choice does not keep; returns its digest."""
        return self._write(key, self._unkept, ACCEPTED)

    def write_accepted(self, key: str) -> str:
        """Writes the manifest of accepted images (parquet), sorted by class and index.

        Returns its SHA-256, in hexadecimal. Raises Precondition if the store has lost rows.
        """
        return self._write(key, self._accepted, ACCEPTED, self.counts.accepted_count)

    def write_rejected(self, key: str) -> str:
        """Writes that of rejected images, sorted by class, index, attempt; returns its digest."""
        return self._write(key, self._rejected, REJECTED, self.counts.rejected_count)

    def _write(self, key: str, parts: Parts, schema: pa.Schema, count: int = -1) -> str:
        """Writes all rows, of which there must be `count`; -1 for any number."""
        digest = sha256()

        def chunks() -> Iterator[bytes]:
            nonlocal digest
            digest = sha256()
            for chunk in to_chunks(_whole(parts.merged(), key, count), schema):
                digest.update(chunk)
                yield chunk

        self._store.put_chunks(key, chunks)
        return digest.hexdigest()


def check_whole(key: str, found: int, count: int) -> None:
    """Raises Precondition if the store holds fewer or more rows than were written down."""
    if found != count:
        raise Precondition(
            f"the store holds {found} of the {count} images on record for {key}: objects of this "
            "work were deleted, or restored from a backup that lacks them; restore the store as a "
            "whole, or repeat the request, which begins anew: images that are there are not made "
            "again",
            subject=key,
            reason="STORE_INCOMPLETE",
        )


def _whole(tables: Iterator[pa.Table], key: str, count: int) -> Iterator[pa.Table]:
    found = 0
    for table in tables:
        found += len(table)
        yield table
        del table  # Only the caller holds a group while it is written.
    if count >= 0:
        check_whole(key, found, count)


def _lineage(item: Item, outcome: Outcome) -> str:
    scores: dict[str, Plain] = {
        "clip_score": outcome.clip_score,
        "unsafe_score": outcome.unsafe_score,
        "pixel_sha256": outcome.pixel_sha256,
    }
    return canonical({**item.lineage, "seed": item.slot.seed, "scores": scores})
