"""What an output of `augment` or `merge` still holds, each image with the class that it has now.

People correct an output with their hands: whoever deletes an image leaves it out, whoever moves one
to the folder of another class gives it that class, and what a review rejected is left out.
"""

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.cli.failures import CliError
from gateway.cli.inputs import manifest_of
from gateway.cli.output_pictures import Picture, by_digest
from gateway.cli.review.log import read_review

# What is needed of a manifest; others differ between methods and versions.
COLUMNS = ("item_id", "image_uri", "sha256", "label", "class_name", "source", "parents")


@dataclass(frozen=True)
class HeldImage:
    """An image that is there: its row of the manifest, by its number, and its picture.

    The row has the class whose folder the picture lies in. Without a picture the image is in the
    store, where the row says.
    """

    number: int
    row: Mapping[str, Any]
    picture: Picture | None


@dataclass(frozen=True)
class Holding:
    """What one output holds. `counts` are those of `Source`, but for copies of other outputs."""

    place: Path
    manifest: Path
    images: Sequence[HeldImage]
    counts: Counter[str]


@dataclass
class Gathering:
    """Images of several outputs, of equal files the first."""

    first: dict[str, tuple[HeldImage, Path]] = field(default_factory=dict)

    def add(self, holding: Holding) -> list[HeldImage]:
        """Returns the images of an output that none before had, and counts those that are used.

        Raises CliError for an image that another gives to another class, and for an output of which
        nothing can be used.
        """
        fresh = []
        for image in holding.images:
            digest = image.row["sha256"]
            if digest in self.first:
                _check_class(holding.place, image.row, *self.first[digest])
                holding.counts["copy_count"] += 1
            else:
                self.first[digest] = image, holding.place
                fresh.append(image)
        holding.counts["used_count"] = len(fresh)
        _check_used(holding)
        return fresh


def rejected_in(places: Sequence[Path]) -> Set[str]:
    """Returns the digests of the images that a person rejected in any of some outputs."""
    return {one for place in places for one in read_review(manifest_of(place).parent).rejected}


def read_output(
    place: Path, rejected: Set[str], classes: Mapping[str, int] | None = None
) -> Holding:
    """Reads what an output holds. `classes` are labels of classes that it may not have itself.

    Raises CliError for a place that is not an output, and for an image that lies in the folders of
    two classes.
    """
    manifest = manifest_of(place)
    table = read_manifest(manifest)
    rows = table.select(list(COLUMNS)).to_pylist()
    labels = {**{row["class_name"]: row["label"] for row in rows}, **(classes or {})}
    filing = _Filing(place, labels, _folders(table))
    files = by_digest(manifest.parent)
    counts = Counter(added_count=_added_count(files, {row["sha256"] for row in rows}))
    images = []
    for number, row in enumerate(rows):
        found = files.get(row["sha256"], [])
        class_name = filing.class_of(row, found)
        if row["sha256"] in rejected:
            counts["rejected_count"] += 1
        elif not found:
            counts["missing_count"] += 1
        elif class_name is None:
            counts["unfiled_count"] += 1
        else:
            counts["moved_count"] += class_name != row["class_name"]
            own = {**row, "class_name": class_name, "label": labels[class_name]}
            images.append(HeldImage(number, own, found[0]))
    return Holding(place, manifest, images, counts)


def read_manifest(manifest: Path) -> Any:
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
    lacking = [name for name in COLUMNS if name not in table.column_names]
    if lacking:
        raise CliError(
            f"{manifest} is not a manifest of `variegate augment`: it has no column {lacking[0]}.",
            exit_code=3,
            reason="NO_MANIFEST",
        )
    return table


def _check_class(place: Path, row: Mapping[str, Any], first: HeldImage, first_place: Path) -> None:
    if first.row["class_name"] != row["class_name"]:
        raise CliError(
            f"The image {row['item_id']} of {place} is {row['class_name']!r} there and "
            f"{first.row['class_name']!r} in {first_place}.",
            exit_code=3,
            remedy="Delete it from one of the folders.",
            reason="CONFLICTING_CLASS",
        )


def _check_used(holding: Holding) -> None:
    count = holding.counts
    if count["used_count"] or count["copy_count"]:
        return
    lost = f": {count['unfiled_count']} lie in no folder of a class"
    lost = lost if count["unfiled_count"] else ""
    if count["rejected_count"]:
        lost += f"; a person rejected {count['rejected_count']}"
    raise CliError(
        f"{holding.place} holds none of the images of its manifest{lost}.",
        exit_code=3,
        remedy="Give the folder as `variegate augment` wrote it; images may be deleted from it "
        "or moved to the folders of other classes.",
    )


def _added_count(files: Mapping[str, Sequence[Picture]], named: set[str]) -> int:
    """How many pictures in folders and shards are not named; beside the folders lie our sheets."""
    return sum(
        one.folder != "" for digest, found in files.items() if digest not in named for one in found
    )


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
