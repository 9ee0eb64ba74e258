"""Images that are no output of variegate's: imported as any dataset is, so that each is checked."""

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli.held import HeldImage, Holding

if TYPE_CHECKING:
    from gateway.cli.inputs import Reading
    from gateway.cli.session import Session
    from servicekit.storage import ObjectStore

_COLUMNS = ("item_id", "image_uri", "sha256", "label", "class_name")


def is_foreign(place: Path) -> bool:
    """Says whether a place of added images is no output of `augment` or `merge`.

    It is one if a manifest lies in the folder, or if the file is such a manifest.
    """
    if place.is_dir():
        return not (place / "manifest.parquet").is_file()
    if place.suffix.lower() != ".parquet" or not place.is_file():
        return place.exists()
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return "item_id" not in pq.read_schema(place).names
    except (pa.ArrowException, OSError):
        return False  # Whoever reads it says what is wrong.


async def import_foreign(
    session: "Session", places: Sequence[Path], reading: "Reading"
) -> dict[Path, str]:
    """Imports those of the places that are no outputs; returns the manifests of the datasets."""
    from gateway.cli.steps import import_images

    manifests = {}
    for place in places:
        if is_foreign(place):
            dataset = await import_images(session, str(place), None, reading=reading)
            manifests[place] = dataset.manifest_uri
            session.view.say(
                f"{place} was not made by variegate: it has no lineage, so nobody can tell what "
                "its images were made from"
            )
    return manifests


def read_foreign(
    store: "ObjectStore",
    place: Path,
    manifest_uri: str,
    source: str,
    classes: Mapping[str, int] | None = None,
) -> Holding:
    """Returns the training images of an imported dataset as images without parents.

    `source` is what their rows say of where they are from; `classes` are labels by class, where
    others than the dataset's own count. Images of its split "test" are left out, and counted as
    added.
    """
    import pyarrow.parquet as pq

    from servicekit.storage import to_key

    table = pq.read_table(io.BytesIO(store.get(to_key(manifest_uri))), columns=[*_COLUMNS, "split"])
    images, counts = [], Counter[str]()
    for number, row in enumerate(table.to_pylist()):
        if row.pop("split") != "train":
            counts["added_count"] += 1
            continue
        label = (classes or {}).get(row["class_name"], row["label"])
        images.append(
            HeldImage(number, {**row, "label": label, "source": source, "parents": []}, None)
        )
    return Holding(place, place, images, counts)
