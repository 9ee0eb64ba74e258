"""Folders that `augment` wrote, back in the object store for training, as one manifest."""

import hashlib
import io
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.cli.failures import CliError
from gateway.cli.inputs import manifest_of
from servicekit.storage import ObjectStore, to_key, to_uri

_IMAGES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tiff"}
# What the trainer needs of a manifest; others differ between methods and versions.
_COLUMNS = ("item_id", "image_uri", "sha256", "label", "class_name", "source", "parents")


@dataclass(frozen=True)
class Source:
    """What one folder gave: the images used, copies of images of folders before it, and those of
    its manifest that it no longer holds."""

    place: str
    used_count: int
    copy_count: int
    missing_count: int


@dataclass(frozen=True)
class Added:
    """The manifest of all folders together, and what each of them gave."""

    manifest_uri: str
    sources: tuple[Source, ...]


@dataclass(frozen=True)
class _Picture:
    """A picture in a file: the whole of it, or `size` bytes of a shard from `offset` on."""

    file: Path
    suffix: str
    offset: int
    size: int

    def read(self) -> bytes:
        with self.file.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


def store_synthetic(
    store: ObjectStore, places: Sequence[Path], dataset_manifest_uri: str = ""
) -> Added:
    """Puts the images of all places, and one manifest of them, into the store.

    Only what a folder still holds is used: whoever deletes an image from it does not train on it.
    Of equal files the first is used. Raises CliError for a place that is no output of `augment`,
    that was made from other images than those of the dataset, or holds none of its images, and for
    an image that two places give to two classes.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows: dict[str, dict[str, Any]] = {}
    known = _dataset(store, dataset_manifest_uri) if dataset_manifest_uri else None
    sources = [_add(store, place, rows, known) for place in places]
    columns: dict[str, Any] = {name: [row[name] for row in rows.values()] for name in _COLUMNS}
    columns["label"] = pa.array(columns["label"], pa.int32())
    columns["parents"] = pa.array(columns["parents"], pa.list_(pa.string()))
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, compression="zstd")
    key = f"synthetic/{hashlib.sha256(buffer.getvalue()).hexdigest()}.parquet"
    store.put(key, buffer.getvalue())
    return Added(to_uri(key), tuple(sources))


def _add(
    store: ObjectStore,
    place: Path,
    rows: dict[str, dict[str, Any]],
    known: tuple[set[str], set[str]] | None,
) -> Source:
    """Adds the rows of a place to `rows`, by the digest of their files."""
    import pyarrow.parquet as pq

    manifest = manifest_of(place)
    table = pq.read_table(manifest)
    lacking = [name for name in _COLUMNS if name not in table.column_names]
    if lacking:
        raise CliError(
            f"{manifest} is no manifest of `variegate augment`: it has no column {lacking[0]}.",
            exit_code=3,
            reason="NO_MANIFEST",
        )
    own = table.select(list(_COLUMNS)).to_pylist()
    if known is not None:
        _check_origin(place, own, *known)
    files = _by_digest(manifest.parent)
    used = copies = missing = 0
    for row in own:
        found, first = files.get(row["sha256"]), rows.get(row["sha256"])
        if first is not None and first["class_name"] != row["class_name"]:
            raise CliError(
                f"The image {row['item_id']} of {place} is {row['class_name']!r} there and "
                f"{first['class_name']!r} in another --synthetic.",
                exit_code=3,
                remedy="Delete it from one of the folders.",
                reason="CONFLICTING_CLASS",
            )
        if found is None:
            missing += 1
        elif first is not None:
            copies += 1
        else:
            rows[row["sha256"]] = {**row, "image_uri": _put(store, row, found)}
            used += 1
    if not used and not copies:
        raise CliError(f"{place} holds none of the images of its manifest.", exit_code=3)
    return Source(str(place), used, copies, missing)


def _dataset(store: ObjectStore, uri: str) -> tuple[set[str], set[str]]:
    """The classes of a dataset and the ids of its training images."""
    import pyarrow.parquet as pq

    columns = ["item_id", "class_name", "split"]
    table = pq.read_table(io.BytesIO(store.get(to_key(uri))), columns=columns)
    rows = table.to_pylist()
    trained = {row["item_id"] for row in rows if row["split"] == "train"}
    return {row["class_name"] for row in rows}, trained


def _check_origin(
    place: Path, rows: Sequence[dict[str, Any]], classes: set[str], trained: set[str]
) -> None:
    strange = sorted({row["class_name"] for row in rows} - classes)
    if strange:
        raise CliError(
            f"{place} has images of classes that the training images lack: "
            f"{', '.join(strange[:5])}{' and more' if len(strange) > 5 else ''}.",
            exit_code=3,
            remedy="Give an output that was made from these images.",
            reason="UNKNOWN_CLASS",
        )
    foreign = [row for row in rows if not trained.issuperset(row["parents"] or ())]
    if foreign:
        raise CliError(
            f"{place} was made from other images: {len(foreign)} of its {len(rows)} images have "
            "parents that are not among these training images.",
            exit_code=3,
            remedy="Give an output that was made from these images, with the same --shots or "
            "fewer.",
            reason="OTHER_DATASET",
        )


def _put(store: ObjectStore, row: dict[str, Any], found: _Picture) -> str:
    uri = str(row.get("image_uri") or "")
    if uri.startswith("store:") and store.exists(to_key(uri)):
        return uri
    digest = row["sha256"]
    key = f"images/{digest[:2]}/{digest}{found.suffix}"
    store.put(key, found.read())
    return to_uri(key)


def _by_digest(folder: Path) -> dict[str, _Picture]:
    """The pictures of a folder, also those in its .tar shards, by SHA-256."""
    pictures: list[_Picture] = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if path.suffix == ".tar":
            with tarfile.open(path, "r:") as shard:
                pictures += [
                    _Picture(path, Path(member.name).suffix, member.offset_data, member.size)
                    for member in shard
                ]
        else:
            pictures.append(_Picture(path, path.suffix.lower(), 0, path.stat().st_size))
    return {
        hashlib.sha256(picture.read()).hexdigest(): picture
        for picture in pictures
        if picture.suffix in _IMAGES
    }
