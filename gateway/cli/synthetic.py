"""Folders of added images, in the object store for training, as one manifest: outputs of `augment`
and `merge`, and what other tools made."""

import hashlib
import io
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.cli.failures import CliError
from gateway.cli.foreign import read_foreign
from gateway.cli.held import COLUMNS, Gathering, HeldImage, Holding, read_output, rejected_in
from servicekit.storage import ObjectStore, to_key, to_uri

# The counts of a Source.
_COUNTS = ("used_count", "copy_count", "missing_count", "moved_count", "unfiled_count",
           "added_count", "rejected_count", "original_count")  # fmt: skip


@dataclass(frozen=True)
class Source:
    """What one folder gave: the images used, copies of images of folders before it, and those of
    its manifest that it no longer holds.

    Of those used, `moved_count` were moved to the folder of another class, which is theirs now.
    Left out are `unfiled_count` that were moved to where no class is, `added_count` images that the
    manifest does not name, `rejected_count` that a person rejected in a review of any folder, and
    `original_count` that are training images themselves. What `is_external` was made by other
    tools: it has no lineage, so nobody can tell what it was made from.
    """

    place: str
    used_count: int
    copy_count: int
    missing_count: int
    moved_count: int = 0
    unfiled_count: int = 0
    added_count: int = 0
    rejected_count: int = 0
    original_count: int = 0
    is_external: bool = False


@dataclass(frozen=True)
class Added:
    """The manifest of all folders together, and what each of them gave."""

    manifest_uri: str
    sources: tuple[Source, ...]


def source_line(source: Mapping[str, Any]) -> str:
    """What people read of one folder, of the fields of a Source."""
    text = f"{source['place']}: {source['used_count']:,} images added"
    if source["is_external"]:
        text += " (external: no lineage)"
    if source["copy_count"]:
        text += f", {source['copy_count']:,} copies of others left out"
    if source["missing_count"]:
        text += f", {source['missing_count']:,} of its manifest are no longer there"
    if source["moved_count"]:
        text += f", {source['moved_count']:,} moved by hand take the class of their new folder"
    if source["unfiled_count"]:
        text += f", {source['unfiled_count']:,} that were moved to no class's folder left out"
    if source["rejected_count"]:
        text += f", {source['rejected_count']:,} that a person rejected left out"
    if source["original_count"]:
        text += f", {source['original_count']:,} training images among them left out"
    if source["added_count"]:
        why = "of its test split" if source["is_external"] else "that its manifest does not name"
        text += f", {source['added_count']:,} {why} left out"
    return text


@dataclass(frozen=True)
class _Dataset:
    """What added images must fit: labels by class, and ids and digests of training images."""

    classes: Mapping[str, int]
    trained: Set[str]
    digests: Set[str]


def store_synthetic(
    store: ObjectStore,
    places: Sequence[Path],
    dataset_manifest_uri: str = "",
    foreign: Mapping[Path, str] | None = None,
) -> Added:
    """Puts the images of all places, and one manifest of them, into the store.

    `foreign` are those places that other tools made, each with the manifest of the dataset as which
    it was imported.

    Only what a folder still holds is used: whoever deletes an image from it does not train on it,
    and whoever moves one to the folder of another class trains on it as that class. Of equal files
    the first is used. Raises CliError for a place that was made from other images than those of
    the dataset, that has other classes, or holds none of its images, and for an image that
    two places, or two folders of one, give to two classes.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    imported = foreign or {}
    known = _dataset(store, dataset_manifest_uri) if dataset_manifest_uri else None
    classes = known.classes if known else None
    own = [place for place in places if place not in imported]
    rejected, gathering = rejected_in(own), Gathering()
    images: list[HeldImage] = []
    sources = []
    for place in places:
        if place in imported:
            held = read_foreign(store, place, imported[place], "external", classes)
        else:
            held = read_output(place, rejected, classes)
        held = _without_originals(held, known)
        if known is not None:
            _check_origin(held, known)
        images += gathering.add(held)
        counts = {name: held.counts[name] for name in _COUNTS}
        sources.append(Source(str(place), **counts, is_external=place in imported))
    rows = [{**one.row, "image_uri": _put(store, one)} for one in images]
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in COLUMNS}
    columns["label"] = pa.array(columns["label"], pa.int32())
    columns["parents"] = pa.array(columns["parents"], pa.list_(pa.string()))
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, compression="zstd")
    key = f"synthetic/{hashlib.sha256(buffer.getvalue()).hexdigest()}.parquet"
    store.put(key, buffer.getvalue())
    return Added(to_uri(key), tuple(sources))


def _dataset(store: ObjectStore, uri: str) -> _Dataset:
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(store.get(to_key(uri))))
    names = ("item_id", "class_name", "label", "split", "sha256")
    rows = table.select([name for name in names if name in table.column_names]).to_pylist()
    trained = [row for row in rows if row["split"] == "train"]
    return _Dataset(
        {row["class_name"]: row["label"] for row in rows},
        {row["item_id"] for row in trained},
        {row["sha256"] for row in trained if "sha256" in row},
    )


def _without_originals(held: Holding, known: _Dataset | None) -> Holding:
    """Leaves out originals that were merged with what was made of them, and copies of them."""
    digests = known.digests if known else frozenset()
    images = [
        one
        for one in held.images
        if one.row["source"] != "original" and one.row["sha256"] not in digests
    ]
    held.counts["original_count"] = len(held.images) - len(images)
    return Holding(held.place, held.manifest, images, held.counts)


def _check_origin(held: Holding, known: _Dataset) -> None:
    place, rows = held.place, [one.row for one in held.images]
    strange = sorted({row["class_name"] for row in rows} - known.classes.keys())
    if strange:
        raise CliError(
            f"{place} has images of classes that the training images lack: "
            f"{', '.join(strange[:5])}{' and more' if len(strange) > 5 else ''}.",
            exit_code=3,
            remedy="Give images of these classes; the names of the folders must be the same.",
            reason="UNKNOWN_CLASS",
        )
    foreign = [row for row in rows if not known.trained >= {*(row["parents"] or ())}]
    if foreign:
        raise CliError(
            f"{place} was made from other images: {len(foreign)} of its {len(rows)} images have "
            "parents that are not among these training images.",
            exit_code=3,
            remedy="Give an output that was made from these images, with the same subset "
            "(--shots, --fraction and the like) or a smaller one.",
            reason="OTHER_DATASET",
        )


def _put(store: ObjectStore, image: HeldImage) -> str:
    uri = str(image.row.get("image_uri") or "")
    if image.picture is None or (uri.startswith("store:") and store.exists(to_key(uri))):
        return uri
    digest = image.row["sha256"]
    key = f"images/{digest[:2]}/{digest}{image.picture.suffix}"
    store.put(key, image.picture.read())
    return to_uri(key)
