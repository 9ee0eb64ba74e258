"""Outputs joined into one: which images, of which classes, under which names.

Rows of manifests are read twice: some columns of all of them first, to decide, and then the rest, a
row group at a time, so that lineages are never held together.
"""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.cli.failures import CliError
from gateway.cli.held import HeldImage, Holding
from gateway.cli.output_pictures import Picture
from servicekit.storage import MemoryStore, ObjectStore, to_key, to_uri

# Rows of a row group of the merged manifest.
_GROUP = 4096
_OF_IMPORTS = ("item_id", "image_uri", "sha256", "label", "class_name", "method", "source",
               "parents", "prompt", "seed", "lineage")  # fmt: skip
_OWN = ("file_name", "parent_files", "imagefolder_label", "review", "merged_from")


@dataclass(frozen=True)
class Part:
    """The images of one output that go into the merged one."""

    holding: Holding
    images: Sequence[HeldImage]
    # Whether the manifest is one of an output; else the images were imported.
    is_output: bool


@dataclass(frozen=True)
class Classes:
    """The classes of a merged output, by name; `is_renumbered` if some have other labels there."""

    labels: Mapping[str, int]
    is_renumbered: bool


def classes_of(parts: Sequence[Part]) -> Classes:
    """Returns the union of the classes: their labels where all agree, else their order by name.

    Outputs of different datasets may number the same classes otherwise; names tell classes apart.
    """
    found: dict[str, set[int]] = {}
    for part in parts:
        for image in part.images:
            found.setdefault(image.row["class_name"], set()).add(image.row["label"])
    numbers = [label for labels in found.values() for label in labels]
    if len(numbers) == len({*numbers}) == len(found):
        return Classes({name: label for name, [label] in found.items()}, False)
    return Classes({name: label for label, name in enumerate(sorted(found))}, True)


class Merged(MemoryStore):
    """What an export reads: the merged manifest, that of the parents, and pictures by digest."""

    MANIFEST, PARENTS = "merged.parquet", "parents.parquet"

    def __init__(self, parts: Sequence[Part], classes: Classes, store: ObjectStore | None) -> None:
        """`store` has the imported images. Raises CliError where meanings contradict each other."""
        super().__init__()
        self._pictures: dict[str, Picture | str] = {}
        self._imported, self._classes = store, classes
        self._meanings: dict[str, tuple[str, Path]] = {}
        self._parents: dict[str, tuple[str, str, int]] = {}
        self._ids: set[str] = set()
        self.renamed_count = 0
        self._write(parts)

    def get(self, key: str) -> bytes:
        """Returns an object, or a picture."""
        found = self._pictures.get(key)
        if isinstance(found, Picture):
            return found.read()
        if found is not None and self._imported is not None:
            return self._imported.get(to_key(found))
        return super().get(key)

    def _write(self, parts: Sequence[Part]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = pa.unify_schemas([_schema(part) for part in parts], promote_options="permissive")
        buffer = io.BytesIO()
        with pq.ParquetWriter(buffer, schema, compression="zstd") as writer:
            for part in parts:
                for rows in self._rows(part):
                    writer.write_table(pa.Table.from_pylist(rows, schema))
        self.put(self.MANIFEST, buffer.getvalue())
        parents = [(one, *self._parents[one]) for one in sorted(self._parents)]
        names = ("item_id", "source", "class_name", "label")
        columns = {name: [one[at] for one in parents] for at, name in enumerate(names)}
        buffer = io.BytesIO()
        pq.write_table(pa.table(columns), buffer)
        self.put(self.PARENTS, buffer.getvalue())

    def _rows(self, part: Part) -> Iterator[list[dict[str, Any]]]:
        chosen = {image.number: image for image in part.images}
        rows = _rows_of(part) if part.is_output else _rows_of_import(part)
        ready = []
        for number, row in rows:
            if image := chosen.get(number):
                ready.append(self._row(part, row, image))
            if len(ready) == _GROUP:
                yield ready
                ready = []
        if ready:
            yield ready

    def _row(self, part: Part, row: dict[str, Any], image: HeldImage) -> dict[str, Any]:
        name, digest = image.row["class_name"], image.row["sha256"]
        self._check_meaning(part, row, name)
        self._note_parents(row, name)
        suffix = image.picture.suffix if image.picture else Path(image.row["image_uri"]).suffix
        key = f"pictures/{digest}{suffix}"
        self._pictures[key] = image.picture or image.row["image_uri"]
        kept = {one: value for one, value in row.items() if one not in _OWN}
        own = {
            "item_id": self._id(row["item_id"], digest),
            "image_uri": to_uri(key),
            "class_name": name,
            "label": self._classes.labels[name],
            "merged_from": str(part.holding.place),
        }
        return {**kept, **own}

    def _id(self, item_id: str, digest: str) -> str:
        """Returns an id of its own: the same item may be another picture on another machine."""
        if item_id in self._ids:
            self.renamed_count += 1
            item_id = f"{item_id}-{digest[:12]}"
        self._ids.add(item_id)
        return item_id

    def _note_parents(self, row: Mapping[str, Any], name: str) -> None:
        ids, files = row.get("parents") or (), row.get("parent_files") or ()
        for item_id, file in zip(ids, files, strict=False):
            if file:
                self._parents[item_id] = file, name, self._classes.labels[name]

    def _check_meaning(self, part: Part, row: Mapping[str, Any], name: str) -> None:
        """Raises CliError if another output took the name of a class for something else."""
        meaning, place = sense_of(row), part.holding.place
        first, where = self._meanings.setdefault(name, (meaning, place)) if meaning else ("", place)
        if first != meaning:
            raise CliError(
                f"The class {name!r} means {first!r} in {where} and {meaning!r} in {place}.",
                exit_code=3,
                remedy="Make one of them again with --param senses='CLASS=SENSE', or merge them "
                "without each other.",
                reason="CONFLICTING_MEANING",
            )


def sense_of(row: Mapping[str, Any]) -> str:
    """Returns what its lineage says that the class of an image was taken to mean, or ""."""
    try:
        sense = json.loads(row.get("lineage") or "{}").get("sense")
    except (ValueError, AttributeError):
        return ""
    return str(sense.get("sense", "")) if isinstance(sense, dict) else ""


def _schema(part: Part) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if part.is_output:
        schema = pq.read_schema(part.holding.manifest).remove_metadata()
        for name in (one for one in _OWN if one in schema.names):
            schema = schema.remove(schema.get_field_index(name))
        at = schema.get_field_index("label")
        schema = schema.set(at, pa.field("label", pa.int32()))
    else:
        kinds = {"label": pa.int32(), "parents": pa.list_(pa.string()), "seed": pa.uint64()}
        fields = [pa.field(name, kinds.get(name, pa.string())) for name in _OF_IMPORTS]
        schema = pa.schema(fields)  # type: ignore[arg-type]
    return schema.append(pa.field("merged_from", pa.string()))


def _rows_of(part: Part) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields the rows of a manifest by their numbers."""
    import pyarrow.parquet as pq

    number = 0
    with pq.ParquetFile(part.holding.manifest) as file:
        for batch in file.iter_batches(_GROUP):
            for row in batch.to_pylist():
                yield number, row
                number += 1


def _rows_of_import(part: Part) -> Iterator[tuple[int, dict[str, Any]]]:
    for image in part.images:
        source = image.row["source"]
        lineage = json.dumps({"method": source, "place": str(part.holding.place)}, sort_keys=True)
        yield image.number, {**image.row, "method": source, "lineage": lineage}
