"""An augmentation as a folder: its images in a chosen format, manifest and lineage beside them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.augment.tables import Manifest
from gateway.export import formats
from gateway.export.annotations import Origin, origin_of
from gateway.export.base import Format, write_file
from gateway.export.beside import FilesBeside
from servicekit.errors import Exhausted, InvalidArgument, Precondition
from servicekit.registry import registered
from servicekit.storage import ObjectStore, sha256_of_object, to_key

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
    replaces: bool = False,
) -> ExportSummary:
    """Writes the images of an augmentation manifest into OUT, in the format `form`.

    OUT also gets `manifest.parquet`, the manifest with the columns `file_name` and `parent_files`
    (see `annotations`), and `lineage.jsonl`, one line per image with its full lineage.
    `dataset_uri` is the manifest of the dataset that the images were made from. Every file appears
    whole or not at all, and the manifest last, so that a folder with a manifest is complete. Raises
    Precondition if OUT exists with anything in it: `resume` goes on with an export of the same
    manifest, `overwrite` writes over whatever is there (it deletes nothing else), `replaces` writes
    into an export of another manifest and keeps images that are whole; shards are taken for whole,
    so those of the other manifest must be gone. Raises
    InvalidArgument for an unknown format.
    """
    chosen = _format(form)
    mark = f"{sha256_of_object(store, to_key(manifest_uri))} {form} {_VERSION}"
    _check_out(out, mark, overwrite=overwrite or replaces, resume=resume)
    origin = origin_of(Manifest(store, dataset_uri)) if dataset_uri else Origin()
    manifest = Manifest(store, manifest_uri)
    layout = chosen.layout(manifest.groups("class_name", "image_uri"))
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_file(out / ".manifest.sha256", mark.encode())
        with FilesBeside(out, layout) as files:
            rows = files.rows(manifest, origin)
            fresh = sum(layout.write(store, rows, out, overwrite=overwrite))
    except OSError as error:
        raise Exhausted(
            f"{out} cannot be written: {error.strerror or error}; make room or choose another "
            "folder, then run the same command with --resume",
            reason="OUTPUT_UNWRITABLE",
        ) from error
    return ExportSummary(out, fresh, len(manifest) - fresh, dict(files.counts), files.notes())


def _formats() -> Mapping[str, Format]:
    return registered(formats, "FORMAT")


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
    what = "holds something other than an export of this augmentation" if resume else "exists"
    raise Precondition(
        f"{out} {what}; use --resume to continue the same export, --overwrite to write over it, "
        "or choose another folder",
        subject=str(out),
        reason="OUTPUT_EXISTS",
    )
