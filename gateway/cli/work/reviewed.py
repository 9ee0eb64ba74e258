"""`variegate augment` for an output that a person has reviewed: what was rejected is replaced."""

import asyncio
import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.cli import outputs
from gateway.cli.exporting import export
from gateway.cli.review.log import Review, read_review, reviewing
from gateway.cli.review.record import record
from gateway.cli.review.replacing import clear_rejected, keep_moved
from gateway.cli.session import Session
from servicekit.storage import to_uri


@dataclass(frozen=True)
class Reviewed:
    """What a person decided on the output in `out` before this run.

    `dropped_count` are decisions that go with an output that is overwritten. With `is_settled` the
    output is finished, and all that is rejected is replaced.
    """

    out: Path
    review: Review
    dropped_count: int
    is_settled: bool

    @classmethod
    def of(cls, out: Path, *, drops: bool) -> "Reviewed":
        """Reads it. Raises CliError if it is damaged."""
        review = read_review(out)
        dropped = len(review.newest) if drops else 0
        settled = outputs.is_finished(out) and not outputs.is_reviewed(out)
        return cls(out, Review() if drops else review, dropped, settled)

    def say(self, session: Session) -> None:
        """Says what becomes of the decisions."""
        if self.dropped_count:
            session.view.say(
                f"warning: {self.dropped_count:,} decisions of a review are deleted with {self.out}"
            )
        if (rejected := len(self.review.rejected)) and not self.is_settled:
            session.view.say(f"{rejected:,} images that a person rejected are replaced")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps reviews out of the folder while the block runs. Raises CliError if one is in it."""
        if not self.out.is_dir():
            yield
            return
        with reviewing(self.out):
            yield

    async def store(self, session: Session) -> str:
        """Puts the list of rejected images into the store; returns its URI, "" for none."""
        if not (ids := sorted({*self.review.rejected.values()})):
            return ""
        import pyarrow as pa
        import pyarrow.parquet as pq

        buffer = io.BytesIO()
        pq.write_table(pa.table({"item_id": pa.array(ids, pa.string())}), buffer)
        key = f"rejections/{hashlib.sha256(buffer.getvalue()).hexdigest()}.parquet"
        store = session.connection.need_store()
        await asyncio.to_thread(store.put, key, buffer.getvalue())
        return to_uri(key)

    async def export(
        self, session: Session, made: pb.Augmentation, dataset: pb.Dataset, form: str
    ) -> tuple[str, ...]:
        """Writes the images of an augmentation, those of a reviewed output in the place of others.

        Returns what is worth a note, which is also said.
        """
        out, uri, notes = self.out, made.result.manifest_uri, list[str]()
        replaces = bool(self.review.newest)
        clears = replaces and not self.is_settled
        if clears and (lost := await asyncio.to_thread(clear_rejected, out, self.review)):
            notes.append(
                f"{lost:,} images that were deleted from {out} are there again; reject images "
                "in a review to have them replaced"
            )
            session.view.say(f"note: {notes[0]}")
        written = await export(session, uri, dataset.manifest_uri, out, form, replaces=replaces)
        if replaces:
            await asyncio.to_thread(keep_moved, out)
            await asyncio.to_thread(record, out)
        return (*notes, *written)
