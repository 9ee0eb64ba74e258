"""The rows of a study whose images are there: checked as `train` does, put into the store."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.cli.failures import CliError
from gateway.cli.foreign import import_foreign
from gateway.cli.image_options import AddedRows
from gateway.cli.session import Session
from gateway.cli.synthetic import source_line, store_synthetic

if TYPE_CHECKING:
    from gateway.cli.inputs import Reading


async def store(
    session: Session, rows: AddedRows, datasets: Sequence[pb.Dataset], reading: "Reading"
) -> list[tuple[str, str]]:
    """Returns name and manifest of each row, and says what each folder gave.

    Raises CliError for images with parents outside the training images of a dataset, and for
    classes that it lacks: the rows of all seeds have these images, whichever dataset is theirs.
    """
    found, kept = [], session.connection.need_store()
    for name, places in rows:
        foreign = await import_foreign(session, places, reading)
        each = [
            await asyncio.to_thread(store_synthetic, kept, places, one.manifest_uri, foreign)
            for one in datasets
        ]
        if len({one.manifest_uri for one in each}) > 1:
            raise CliError(
                f"{name} holds training images of some subsets and not of others, so that its row "
                "would add other images at each seed.",
                remedy="Give a folder without the originals, or leave subset_seeds out.",
                reason="ADDED_IMAGES_DIFFER",
            )
        for source in each[0].sources:
            session.view.say(f"{name}: {source_line(asdict(source))}")
        found.append((name, each[0].manifest_uri))
    return found
