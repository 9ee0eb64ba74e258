"""The oracle row of a study: as many pool images as a method adds, with their own labels.

Pool captions contain class words, so a generator or CLIP trained on them knows the labels; this row
shows what those labels are worth by themselves.
"""

import asyncio
import io
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gateway.clients.retriever import CANDIDATES_PER_CALL, Candidate, Verdict
from gateway.datasets.inspect import image_key, suffix_of
from gateway.digests import canonical, digest, sha256_of
from gateway.resources import Dataset
from gateway.run.context import Context
from gateway.run.output import Row, write_rows
from gateway.run.shards import shown_text
from servicekit.errors import Precondition
from servicekit.storage import ObjectStore, to_key, to_uri

METHOD = "oracle"
_SPARE = 8


@dataclass(frozen=True)
class PoolImage:
    """An image of the pool, in the object store."""

    image_uri: str
    sha256: str
    class_name: str


async def make_oracle(
    context: Context, dataset: Dataset, pool_uri: str, images_per_class: int, seed: int, key: str
) -> dict[str, Any]:
    """Writes the manifest of labelled pool images under `key`; returns its URI and row count.

    Copies of the dataset's own images (any split) are left out.
    """
    table = await asyncio.to_thread(_read, context.store, pool_uri)
    rows: list[Row] = []
    for one in dataset.classes:
        drawn = _draw(table, one.class_name, one.label, seed)
        taken = 0
        # A few more than are wanted, since few are copies.
        size = min(images_per_class + _SPARE, CANDIDATES_PER_CALL)
        for first in range(0, len(drawn), size):
            if taken == images_per_class:
                break
            part = drawn[first : first + size]
            images = await asyncio.to_thread(_store, context.store, table, part, one.class_name)
            for image, verdict in await _screen(context, dataset, images):
                if verdict.accepted and taken < images_per_class:
                    rows.append(_row(image, verdict, one.label, pool_uri, seed))
                    taken += 1
    await asyncio.to_thread(context.store.put, key, write_rows(rows), overwrite=True)
    return {"manifest_uri": to_uri(key), "count": len(rows)}


def has_labels(store: ObjectStore, pool_uri: str) -> bool:
    """Says whether the pool has classes, without which there is no oracle row.

    Pools of several files and archives are taken to have none.
    """
    key = to_key(pool_uri)
    if not store.exists(key) or not (data := store.get(key)).startswith(b"PAR1"):
        return False
    names = set(pq.read_schema(io.BytesIO(data)).names)
    return bool(names & {"class_name", "label"})


def _read(store: ObjectStore, pool_uri: str) -> pa.Table:
    table = pq.read_table(io.BytesIO(store.get(to_key(pool_uri))))
    names = set(table.column_names)
    if not names & {"image", "image_uri"}:
        raise Precondition(
            f"the pool {pool_uri} has neither the column image nor image_uri",
            subject=pool_uri,
            reason="COLUMNS_MISSING",
        )
    return table


def _draw(table: pa.Table, class_name: str, label: int, seed: int) -> list[int]:
    """Returns the rows of a class in an order that the seed and the row alone determine."""
    named = "class_name" in table.column_names
    wanted = class_name if named else label
    values = table.column("class_name" if named else "label").to_pylist()
    rows = [row for row, value in enumerate(values) if value == wanted]
    return sorted(rows, key=lambda row: digest("oracle", seed, row))


def _store(
    store: ObjectStore, table: pa.Table, rows: list[int], class_name: str
) -> list[PoolImage]:
    """Puts the images of the rows into the store, where they are not there yet."""
    images = []
    for values in table.take(rows).to_pylist():
        if uri := values.get("image_uri"):
            images.append(PoolImage(uri, sha256_of(store.get(to_key(uri))), class_name))
            continue
        image = values["image"]
        data = image["bytes"] if isinstance(image, dict) else image
        sha256 = sha256_of(data)
        key = image_key(sha256, suffix_of(data))
        store.put(key, data)
        images.append(PoolImage(to_uri(key), sha256, class_name))
    return images


async def _screen(
    context: Context, dataset: Dataset, images: list[PoolImage]
) -> list[tuple[PoolImage, Verdict]]:
    verdicts = await context.clients.retriever.screen(
        [Candidate(image.image_uri, shown_text(image.class_name)) for image in images],
        protected_manifest_uri=dataset.manifest_uri,
    )
    return list(zip(images, verdicts, strict=True))


def _row(image: PoolImage, verdict: Verdict, label: int, pool_uri: str, seed: int) -> Row:
    lineage = canonical({"method": METHOD, "pool_uri": pool_uri, "seed": seed})
    return Row(
        item_id=digest(METHOD, pool_uri, image.class_name, image.sha256),
        image_uri=image.image_uri,
        sha256=image.sha256,
        label=label,
        class_name=image.class_name,
        method=METHOD,
        source="retrieved",
        seed=seed,
        clip_score=verdict.clip_score,
        lineage=lineage,
    )
