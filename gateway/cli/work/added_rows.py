"""The rows of a study whose images are there: checked as `train` does, put into the store."""

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING

from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.cli.foreign import import_foreign
from gateway.cli.image_options import AddedRows
from gateway.cli.session import Session
from gateway.cli.synthetic import source_line, store_synthetic

if TYPE_CHECKING:
    from gateway.cli.inputs import Reading


async def store(
    session: Session, rows: AddedRows, dataset: pb.Dataset, reading: "Reading"
) -> list[tuple[str, str]]:
    """Returns name and manifest of each row, and says what each folder gave.

    Raises CliError for images with parents outside the dataset's training images, and for classes
    that it lacks.
    """
    found, kept = [], session.connection.need_store()
    for name, places in rows:
        foreign = await import_foreign(session, places, reading)
        added = await asyncio.to_thread(
            store_synthetic, kept, places, dataset.manifest_uri, foreign
        )
        for source in added.sources:
            session.view.say(f"{name}: {source_line(asdict(source))}")
        found.append((name, added.manifest_uri))
    return found
