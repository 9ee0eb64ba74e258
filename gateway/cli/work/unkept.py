"""The images that a choice of the best did not keep: a table beside the output, and a page."""

from pathlib import Path

import pyarrow.parquet as pq
from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.cli.contact_sheet import write_page
from servicekit.storage import ObjectStore, chunks_of, to_key

TABLE, PAGE = "not_kept.parquet", "not_kept.html"
# Images of a class that the page shows, and classes.
_SHOWN, _CLASSES = 32, 100


def write(store: ObjectStore, made: pb.Augmentation, out: Path) -> None:
    """Writes both into the output folder. The table has every image, with scores and lineage."""
    kept = made.result.kept
    key = to_key(kept.unkept_uri)
    whole = out / f".{TABLE}"
    with whole.open("wb") as file:
        for chunk in chunks_of(store, key):
            file.write(chunk)
    whole.replace(out / TABLE)
    write_page(out / PAGE, _pictures(store, kept.score, out / TABLE))


def _pictures(store: ObjectStore, score: str, table: Path) -> dict[str, list[tuple[bytes, str]]]:
    """The first images of each class with their scores."""
    found: dict[str, list[tuple[bytes, str]]] = {}
    columns = ["class_name", "image_uri", score]
    for batch in pq.ParquetFile(table).iter_batches(columns=columns):
        for row in batch.to_pylist():
            if row["class_name"] not in found and len(found) == _CLASSES:
                return found
            images = found.setdefault(row["class_name"], [])
            if len(images) < _SHOWN:
                data = store.get(to_key(row["image_uri"]))
                images.append((data, f"{score} {row[score]:.3f}"))
    return found
