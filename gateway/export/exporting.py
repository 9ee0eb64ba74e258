"""An augmentation as a folder: its images in a chosen format, manifest and lineage beside them."""

import io
import json
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from gateway.digests import sha256_of
from gateway.export import formats
from gateway.export.annotations import (
    Origin,
    annotated,
    for_json,
    lineage_for_json,
    origin_of,
    to_bytes,
)
from gateway.export.base import Format, Row, write_file
from gateway.registry import scan
from servicekit.errors import Exhausted, InvalidArgument, Precondition
from servicekit.storage import ObjectStore, to_key

MANIFEST, LINEAGE = "manifest.parquet", "lineage.jsonl"
# Of what is written; an export that an older version began is written anew.
_VERSION = 2


@dataclass(frozen=True)
class ExportSummary:
    """What was exported. `kept_count` are images that were there already, whole.

    `notes` are sentences for people.
    """

    out: Path
    written_count: int
    kept_count: int
    class_counts: dict[str, int]
    notes: tuple[str, ...] = ()


def format_ids() -> list[str]:
    """Returns the ids of the export formats."""
    return list(_formats())


def export_augmentation(
    store: ObjectStore,
    manifest_uri: str,
    out: Path,
    *,
    dataset_uri: str = "",
    form: str = "imagefolder",
    overwrite: bool = False,
    resume: bool = False,
) -> ExportSummary:
    """Writes the images of an augmentation manifest into OUT, in the format `form`.

    OUT also gets `manifest.parquet`, the manifest with the columns `file_name` and `parent_files`
    (see `annotations`), and `lineage.jsonl`, one line per image with its full lineage.
    `dataset_uri` is the manifest of the dataset that the images were made from. Every file appears
    whole or not at all, and the manifest last, so that a folder with a manifest is complete. Raises
    Precondition if OUT exists with anything in it: `resume` goes on with an export of the same
    manifest, `overwrite` writes over whatever is there (it deletes nothing else). Raises
    InvalidArgument for an unknown format.
    """
    chosen = _format(form)
    data = store.get(to_key(manifest_uri))
    manifest = pq.read_table(io.BytesIO(data))
    mark = f"{sha256_of(data)} {form} {_VERSION}"
    _check_out(out, mark, overwrite=overwrite, resume=resume)
    origin = origin_of(store.get(to_key(dataset_uri))) if dataset_uri else Origin()
    manifest = annotated(manifest, chosen.columns(_json_rows(manifest)), origin)
    rows = _json_rows(manifest)
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_file(out / ".manifest.sha256", mark.encode())
        written = sum(chosen.write(store, rows, out, overwrite=overwrite))
        lines = (json.dumps(_unfolded(row), sort_keys=True) for row in rows)
        write_file(out / LINEAGE, "".join(f"{line}\n" for line in lines).encode())
        chosen.describe(manifest, out)
        write_file(out / MANIFEST, to_bytes(manifest))
    except OSError as error:
        raise Exhausted(
            f"{out} cannot be written: {error.strerror or error}; make room or choose another "
            "folder, then run the same command with --resume",
            reason="OUTPUT_UNWRITABLE",
        ) from error
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["class_name"]] = counts.get(row["class_name"], 0) + 1
    return ExportSummary(out, written, len(rows) - written, counts, _notes(rows))


def _formats() -> dict[str, Format]:
    return scan(formats, "FORMAT")


def _format(form: str) -> Format:
    known = _formats()
    if form not in known:
        raise InvalidArgument(
            f"there is no format {form!r}; known are {', '.join(known)}",
            field="format",
            reason="UNKNOWN_FORMAT",
        )
    return known[form]


def _check_out(out: Path, mark: str, *, overwrite: bool, resume: bool) -> None:
    if overwrite or not out.exists():
        return
    if not out.is_dir():
        raise Precondition(
            f"{out} is a file; choose another folder", subject=str(out), reason="OUTPUT_EXISTS"
        )
    if not any(out.iterdir()):
        return
    file = out / ".manifest.sha256"
    if resume and file.is_file() and file.read_text() == mark:
        return
    what = "holds something else than an export of this augmentation" if resume else "exists"
    raise Precondition(
        f"{out} {what}; use --resume to go on with the same export, --overwrite to write over it, "
        "or choose another folder",
        subject=str(out),
        reason="OUTPUT_EXISTS",
    )


def _json_rows(manifest: pa.Table) -> list[Row]:
    rows: list[Row] = manifest.to_pylist()
    return [{**row, "lineage": lineage_for_json(row["lineage"])} for row in rows]


def _unfolded(row: Row) -> Row:
    unfolded: Row = for_json({**row, "lineage": json.loads(row["lineage"])})
    return unfolded


def _notes(rows: list[Row]) -> tuple[str, ...]:
    return (*_renamed(rows), *_numbered(rows))


def _renamed(rows: list[Row]) -> list[str]:
    """Says which classes have folders of other names."""
    pairs = {(row["class_name"], row["file_name"].rpartition("/")[0]) for row in rows}
    return [
        f"the class {name!r} is in the folder {folder!r}, as no folder can have its name"
        for name, folder in sorted(pairs)
        if folder and folder != name and not folder.endswith(".tar")
    ]


def _numbered(rows: list[Row]) -> tuple[str, ...]:
    pairs = {(row["label"], row.get("imagefolder_label", row["label"])) for row in rows}
    if all(own == theirs for own, theirs in pairs):
        return ()
    return (
        "the column label of the manifest numbers the classes as the dataset does; torchvision's "
        "ImageFolder numbers those of this folder otherwise: see its column imagefolder_label",
    )
