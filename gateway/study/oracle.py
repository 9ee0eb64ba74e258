"""The oracle row of a study: as many pool images as a method adds, with their own labels.

Pool captions contain class words, so a generator or CLIP trained on them knows the labels; this row
shows what those labels are worth by themselves.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.api.resources import Dataset, DatasetClass, Study
from gateway.augment.rows import ManifestRow, write_rows
from gateway.augment.shards import shown_text
from gateway.clients.retriever import PoolImage
from gateway.clients.screener import CANDIDATES_PER_CALL
from gateway.clients.verdicts import Candidate, Verdict
from gateway.context import Context
from gateway.digests import canonical, digest
from gateway.durable.progress import WorkProgress
from servicekit.storage import to_uri

METHOD = "oracle"
# A few more than are wanted are drawn, since few are copies.
_SPARE = 8
_NAMES = 1000
# All numbers that a class may have.
_NUMBERS = range(2**53)


@dataclass(frozen=True)
class IndexedPool:
    """An indexed pool. `is_named` says whether it names a dataset's classes, and `is_numbered`
    whether it does not, but numbers classes: two data sets seldom count them alike, so numbers
    without names say nothing. `numbers` are those that people named, by class; then they count.

    `seconds` is the time that it took to build the index; `left_out` says what is not in it.
    """

    uri: str
    index: str
    is_named: bool
    is_numbered: bool
    seconds: float
    left_out: str
    numbers: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def labels_of(self, class_name: str) -> list[Sequence[str] | range]:
        """Returns what to ask the index for, one after the other, to get images of a class."""
        if not self.numbers:
            return [(class_name,)]
        return [range(number, number + 1) for number in self.numbers.get(class_name, ())]


async def look_at_pool(
    context: Context, dataset: Dataset, study: Study, progress: WorkProgress
) -> IndexedPool:
    """Returns the study's pool, indexed."""
    uri, numbers = study.pool_uri, _numbers(dataset, study)
    began, retriever = time.monotonic(), context.clients.retriever
    index = await retriever.index(
        uri, lambda done, total: progress.set("index", done, total, "images")
    )
    seconds = time.monotonic() - began
    names = [one.class_name for one in dataset.classes]
    asked: list[Sequence[str] | range] = [
        names[first : first + _NAMES] for first in range(0, len(names), _NAMES)
    ]
    if numbers:
        asked = [range(one, one + 1) for some in numbers.values() for one in some]
    is_named = any([await retriever.sample(index.name, 1, labels) for labels in asked])
    is_numbered = not is_named and bool(await retriever.sample(index.name, 1, _NUMBERS))
    return IndexedPool(uri, index.name, is_named, is_numbered, seconds, index.left_out, numbers)


def _numbers(dataset: Dataset, study: Study) -> dict[str, list[int]]:
    """Returns the numbers that people said stand for classes of the dataset, by class."""
    classes = {one.class_name for one in dataset.classes}
    found: dict[str, list[int]] = {}
    for number, name in sorted(study.pool_class_names.items()):
        if name in classes:
            found.setdefault(name, []).append(number)
    return found


async def make_oracle(
    context: Context, dataset: Dataset, pool: IndexedPool, per_class: int, seed: int, key: str
) -> dict[str, Any]:
    """Writes the manifest of labelled pool images under `key`; returns its URI, count and seconds.

    Copies of the dataset's own images (any split) are left out.
    """
    began = time.monotonic()
    rows: list[ManifestRow] = []
    for one in dataset.classes:
        rows += await _draw(context, dataset, pool, one, per_class, seed)
    await asyncio.to_thread(context.store.put, key, write_rows(rows), overwrite=True)
    return {
        "manifest_uri": to_uri(key),
        "count": len(rows),
        "seconds": time.monotonic() - began,
    }


async def _draw(
    context: Context,
    dataset: Dataset,
    pool: IndexedPool,
    one: DatasetClass,
    wanted: int,
    seed: int,
) -> list[ManifestRow]:
    """Returns up to `wanted` images of a class, the first of a draw that are no copies."""
    rows: dict[str, ManifestRow] = {}
    size = min(wanted + _SPARE, CANDIDATES_PER_CALL)
    for labels in pool.labels_of(one.class_name):
        skip = 0
        while len(rows) < wanted:
            images = await context.clients.retriever.sample(
                pool.index, size, labels, seed=seed, skip=skip
            )
            for image, verdict in await _screen(context, dataset, one, images):
                if verdict.accepted and len(rows) < wanted:
                    rows.setdefault(image.sha256, _row(image, verdict, one, pool.uri, seed))
            skip += size
            if len(images) < size:
                break
    return list(rows.values())


async def _screen(
    context: Context, dataset: Dataset, one: DatasetClass, images: Sequence[PoolImage]
) -> list[tuple[PoolImage, Verdict]]:
    verdicts = await context.clients.screener.screen(
        [Candidate(image.image_uri, shown_text(one.called)) for image in images],
        protected_manifest_uri=dataset.manifest_uri,
    )
    return list(zip(images, verdicts, strict=True))


def _row(
    image: PoolImage, verdict: Verdict, one: DatasetClass, pool_uri: str, seed: int
) -> ManifestRow:
    return ManifestRow(
        item_id=digest(METHOD, pool_uri, one.class_name, image.sha256),
        image_uri=image.image_uri,
        sha256=image.sha256,
        label=one.label,
        class_name=one.class_name,
        method=METHOD,
        source="retrieved",
        seed=seed,
        clip_score=verdict.clip_score,
        lineage=canonical({"method": METHOD, "pool_uri": pool_uri, "seed": seed}),
    )
