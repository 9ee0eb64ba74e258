"""Folders that `augment` wrote, back in the object store for training, as one manifest."""

import hashlib
import io
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.cli.failures import CliError
from gateway.cli.inputs import manifest_of
from gateway.cli.output_pictures import Picture, by_digest
from gateway.cli.review.log import read_review
from servicekit.storage import ObjectStore, to_key, to_uri

# The counts of a Source.
_COUNTS = ("used_count", "copy_count", "missing_count", "moved_count", "unfiled_count",
           "added_count", "rejected_count")  # fmt: skip
# What the trainer needs of a manifest; others differ between methods and versions.
_COLUMNS = ("item_id", "image_uri", "sha256", "label", "class_name", "source", "parents")


@dataclass(frozen=True)
class Source:
    """What one folder gave: the images used, copies of images of folders before it, and those of
    its manifest that it no longer holds.

    Of those used, `moved_count` were moved to the folder of another class, which is theirs now.
    Left out are `unfiled_count` that were moved to where no class is, `added_count` images that the
    manifest does not name, and `rejected_count` that a person rejected in a review of any folder.
    """

    place: str
    used_count: int
    copy_count: int
    missing_count: int
    moved_count: int = 0
    unfiled_count: int = 0
    added_count: int = 0
    rejected_count: int = 0


@dataclass(frozen=True)
class Added:
    """The manifest of all folders together, and what each of them gave."""

    manifest_uri: str
    sources: tuple[Source, ...]


def store_synthetic(
    store: ObjectStore, places: Sequence[Path], dataset_manifest_uri: str = ""
) -> Added:
    """Puts the images of all places, and one manifest of them, into the store.

    Only what a folder still holds is used: an image deleted from it is not trained on,
    and an image moved to the folder of another class is trained on as that class. Of equal files
    the first is used. Raises CliError for a place that is no output of `augment`, that was made
    from other images than those of the dataset, or holds none of its images, and for an image that
    two places, or two folders of one, give to two classes.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows: dict[str, dict[str, Any]] = {}
    known = _dataset(store, dataset_manifest_uri) if dataset_manifest_uri else None
    rejected = {one for place in places for one in read_review(manifest_of(place).parent).rejected}
    sources = [_add(store, place, rows, known, rejected) for place in places]
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
    known: tuple[dict[str, int], set[str]] | None,
    rejected: Set[str],
) -> Source:
    """Adds the rows of a place to `rows`, by the digest of their files."""
    manifest = manifest_of(place)
    table = _read(manifest)
    own = table.select(list(_COLUMNS)).to_pylist()
    if known is not None:
        _check_origin(place, own, *known)
    labels = {**{row["class_name"]: row["label"] for row in own}, **(known[0] if known else {})}
    filing = _Filing(place, labels, _folders(table))
    files = by_digest(manifest.parent)
    count = Counter(added_count=_added_count(files, {row["sha256"] for row in own}))
    for row in own:
        found, first = files.get(row["sha256"], []), rows.get(row["sha256"])
        class_name = filing.class_of(row, found)
        if row["sha256"] in rejected:
            count["rejected_count"] += 1
            continue
        if found and class_name is None:
            count["unfiled_count"] += 1
            continue
        is_moved = class_name is not None and class_name != row["class_name"]
        if is_moved:
            row |= {"class_name": class_name, "label": labels[str(class_name)]}
        if not found:
            count["missing_count"] += 1
        elif first is not None:
            _check_class(place, row, first)
            count["copy_count"] += 1
        else:
            rows[row["sha256"]] = {**row, "image_uri": _put(store, row, found[0])}
            count["used_count"] += 1
            count["moved_count"] += is_moved
    return _source(place, count)


def _read(manifest: Path) -> Any:
    """The table of a manifest. Raises CliError if it is damaged or another file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(manifest)
    except (pa.ArrowException, OSError) as error:
        raise CliError(
            f"{manifest} cannot be read: {str(error).splitlines()[0]}",
            exit_code=3,
            remedy="Make the images again with `variegate augment --overwrite`.",
            reason="NO_MANIFEST",
        ) from error
    lacking = [name for name in _COLUMNS if name not in table.column_names]
    if lacking:
        raise CliError(
            f"{manifest} is not a manifest of `variegate augment`: it has no column {lacking[0]}.",
            exit_code=3,
            reason="NO_MANIFEST",
        )
    return table


def _check_class(place: Path, row: Mapping[str, Any], first: Mapping[str, Any]) -> None:
    if first["class_name"] != row["class_name"]:
        raise CliError(
            f"The image {row['item_id']} of {place} is {row['class_name']!r} there and "
            f"{first['class_name']!r} in another --synthetic.",
            exit_code=3,
            remedy="Delete it from one of the folders.",
            reason="CONFLICTING_CLASS",
        )


def _added_count(files: Mapping[str, Sequence[Picture]], named: set[str]) -> int:
    """How many pictures in folders and shards are not named; beside the folders lie our sheets."""
    return sum(
        one.folder != "" for digest, found in files.items() if digest not in named for one in found
    )


def _source(place: Path, count: Mapping[str, int]) -> Source:
    if not count["used_count"] and not count["copy_count"]:
        lost = f": {count['unfiled_count']} lie in no folder of a class"
        lost = lost if count["unfiled_count"] else ""
        if count["rejected_count"]:
            lost += f"; a person rejected {count['rejected_count']}"
        raise CliError(
            f"{place} holds none of the images of its manifest{lost}.",
            exit_code=3,
            remedy="Give the folder as `variegate augment` wrote it; images may be deleted from it "
            "or moved to the folders of other classes.",
        )
    return Source(str(place), **{name: count[name] for name in _COUNTS})


@dataclass(frozen=True)
class _Filing:
    """Says which class an image has by where it lies; people correct labels by moving files.

    `labels` are the classes that there are, and `folders` the class of each folder that the export
    made: its name may differ where a file system does not take the class's.
    """

    place: Path
    labels: Mapping[str, int]
    folders: Mapping[str, str]

    def class_of(self, row: Mapping[str, Any], found: Sequence[Picture]) -> str | None:
        """The class of a row's image; None if it lies nowhere, or in no folder of a class.

        Raises CliError if it lies in the folders of two.
        """
        if not self.folders or any(one.folder is None for one in found):
            return str(row["class_name"])
        where = {one.folder: self._class_of_folder(one.folder or "") for one in found}
        classes = {name for name in where.values() if name is not None}
        if len(classes) > 1:
            raise CliError(
                f"The image {row['item_id']} of {self.place} lies in the folders of two classes: "
                f"{', '.join(sorted(map(str, where)))}.",
                exit_code=3,
                remedy="Delete it from one of them.",
                reason="CONFLICTING_CLASS",
            )
        return next(iter(classes), None)

    def _class_of_folder(self, folder: str) -> str | None:
        return self.folders.get(folder) or (folder if folder in self.labels else None)


def _folders(table: Any) -> dict[str, str]:
    """The class of every folder of an output by its manifest; none if it does not tell files."""
    if "file_name" not in table.column_names:
        return {}
    names, classes = (table.column(n).to_pylist() for n in ("file_name", "class_name"))
    pairs = zip(names, classes, strict=True)
    return {name.partition("/")[0]: own for name, own in pairs if name and "/" in name}


def _dataset(store: ObjectStore, uri: str) -> tuple[dict[str, int], set[str]]:
    """The labels of a dataset's classes, and the ids of its training images."""
    import pyarrow.parquet as pq

    columns = ["item_id", "class_name", "label", "split"]
    table = pq.read_table(io.BytesIO(store.get(to_key(uri))), columns=columns)
    rows = table.to_pylist()
    trained = {row["item_id"] for row in rows if row["split"] == "train"}
    return {row["class_name"]: row["label"] for row in rows}, trained


def _check_origin(
    place: Path, rows: Sequence[dict[str, Any]], classes: Mapping[str, int], trained: set[str]
) -> None:
    strange = sorted({row["class_name"] for row in rows} - classes.keys())
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


def _put(store: ObjectStore, row: dict[str, Any], found: Picture) -> str:
    uri = str(row.get("image_uri") or "")
    if uri.startswith("store:") and store.exists(to_key(uri)):
        return uri
    digest = row["sha256"]
    key = f"images/{digest[:2]}/{digest}{found.suffix}"
    store.put(key, found.read())
    return to_uri(key)
