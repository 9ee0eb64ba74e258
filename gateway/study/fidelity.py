"""Diversity and fidelity of a row's images: which are looked at, and what is measured of them."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datafiles.places.layout import TRAIN
from gateway.api.resources import Dataset
from gateway.augment.outcomes import NO_CLIP_SCORE
from gateway.augment.tables import Manifest, lowest
from gateway.context import Context
from gateway.durable.attempts import is_final
from gateway.durable.progress import WorkProgress
from gateway.durable.steps import step
from gateway.export.results import ImageFigures
from gateway.export.statistics import mean
from gateway.study.measures import (
    Array,
    frechet_distance,
    kernel_distance,
    nearest_parent_distance,
    precision_and_recall,
)
from gateway.study.records import Arm
from servicekit.errors import ServiceError
from servicekit.storage import ObjectStore

# Images of a row, and real ones, that are looked at. Ids are digests, so those with the lowest are
# a draw that is the same on every run.
MOST = 5_000
_COUNTS = ("image_count", "real_count")
_FIGURES = tuple(one.name for one in fields(ImageFigures) if one.name not in ("encoder", *_COUNTS))
_COLUMNS = ("item_id", "image_uri", "parents", "clip_score")


@dataclass(frozen=True)
class FidelityRecord:
    """What was measured of the images that a row takes, at one seed."""

    arm: Arm
    seed: int
    figures: ImageFigures


def figures_of(arm: Arm, records: Sequence[FidelityRecord]) -> ImageFigures | None:
    """Returns the means over the seeds of a row, of each figure that all of them have."""
    found = [one.figures for one in records if one.arm.key == arm.key]
    if not found:
        return None
    means: dict[str, Any] = {}
    for name in _FIGURES:
        values = [getattr(one, name) for one in found]
        means[name] = None if None in values else mean(values)
    counts = {name: round(mean([getattr(one, name) for one in found])) for name in _COUNTS}
    return ImageFigures(encoder=found[0].encoder, **counts, **means)


class Fidelity:
    """Measures images against the real training images of their seed, never its test images.

    The retriever's CLIP encodes them. What was measured is remembered by manifest and dataset, for
    the rows that share images.
    """

    def __init__(
        self, context: Context, datasets: Mapping[int, Dataset], progress: WorkProgress
    ) -> None:
        self._context, self._datasets, self._progress = context, datasets, progress
        self._real: dict[str, Array] = {}  # By the manifest that they are of.
        self._known: dict[tuple[str, str], ImageFigures] = {}
        self.records: list[FidelityRecord] = []
        self.notes: list[str] = []

    async def look(self, row: Arm, seed: int, manifest_uri: str) -> None:
        """Measures all images of a row's method; without a manifest there are none.

        An error that would come again costs the figures, not the row: a note says it.
        """
        if not manifest_uri:
            return
        real_uri = self._datasets[seed].manifest_uri
        key = (manifest_uri, real_uri)
        if key not in self._known:
            self._progress.child = None
            self._progress.start("measure", 1, "sets of images")
            found = await step("measure", lambda: self._measure(*key))
            if message := found.get("failure"):
                self.notes.append(
                    f"The images of {row.label}, seed {seed}, were not measured: {message}"
                )
                return
            self._known[key] = ImageFigures(**found)
        self.records.append(FidelityRecord(row, seed, self._known[key]))

    async def _measure(self, manifest_uri: str, real_uri: str) -> dict[str, Any]:
        try:
            return asdict(await self._figures(manifest_uri, real_uri))
        except ServiceError as error:
            if not is_final(error):
                raise
            return {"failure": error.message}

    async def _figures(self, manifest_uri: str, real_uri: str) -> ImageFigures:
        store = self._context.store
        encoder = await self._context.clients.retriever.encoder()
        if real_uri not in self._real:
            images = await asyncio.to_thread(_real_images, store, real_uri)
            self._real[real_uri] = await self._embed(images)
        real = self._real[real_uri]
        rows = await asyncio.to_thread(_lowest_rows, store, manifest_uri)
        made = await self._embed([row["image_uri"] for row in rows])
        near = await self._parent_distances(rows, made, real_uri)
        figures = await asyncio.to_thread(_compare, made, real)
        known = [row.get("clip_score", NO_CLIP_SCORE) for row in rows]
        scores = [score for score in known if score > NO_CLIP_SCORE]
        return ImageFigures(
            encoder=encoder,
            image_count=len(rows),
            real_count=len(real),
            clip_score=mean(scores) if scores else None,
            parent_distance=mean(near) if near else None,
            **figures,
        )

    async def _parent_distances(
        self, rows: Sequence[Mapping[str, Any]], made: Array, real_uri: str
    ) -> list[float]:
        """Returns the distance of each image that has parents to the nearest of them."""
        ids = sorted({one for row in rows for one in row["parents"] or ()})
        found = await asyncio.to_thread(
            Manifest(self._context.store, real_uri).with_ids,
            ids,
            "item_id",
            "image_uri",
        )
        vectors = await self._embed(list(map(str, found.column("image_uri").to_pylist())))
        of_id = dict(zip(found.column("item_id").to_pylist(), vectors, strict=True))
        distances = []
        for row, vector in zip(rows, made, strict=True):
            parents = [of_id[one] for one in row["parents"] or () if one in of_id]
            if parents:
                distances.append(nearest_parent_distance(vector, np.stack(parents)))
        return distances

    async def _embed(self, uris: Sequence[str]) -> Array:
        return await self._context.clients.screener.embed_images(uris)


def _compare(made: Array, real: Array) -> dict[str, float | None]:
    if not len(made) or not len(real):
        return {}
    kernel = kernel_distance(made, real)
    shares = precision_and_recall(made, real)
    return {
        "frechet_distance": frechet_distance(made, real),
        "kernel_distance": kernel.distance if kernel else None,
        "kernel_distance_error": kernel.standard_error if kernel else None,
        "precision": shares[0] if shares else None,
        "recall": shares[1] if shares else None,
    }


def _lowest_rows(store: ObjectStore, uri: str) -> list[dict[str, Any]]:
    manifest = Manifest(store, uri)
    # Images that were added as they are have no scores.
    columns = [name for name in _COLUMNS if name in manifest.column_names]
    rows: list[dict[str, Any]] = lowest(manifest.groups(*columns), MOST).to_pylist()
    return rows


def _real_images(store: ObjectStore, uri: str) -> list[str]:
    """Returns the URIs of the training images that are compared with."""
    groups = Manifest(store, uri).groups("item_id", "image_uri", "split")
    train = (one.filter(pc.equal(one.column("split"), pa.scalar(TRAIN))) for one in groups)
    return list(map(str, lowest(train, MOST).column("image_uri").to_pylist()))
