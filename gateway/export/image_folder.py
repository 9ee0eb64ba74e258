"""An ImageFolder: a folder per class, with the manifest and its lineage beside them."""

import io
import json
import os
import re
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from gateway.digests import sha256_of
from servicekit.errors import Exhausted, Precondition
from servicekit.storage import ObjectStore, to_key

MANIFEST, LINEAGE = "manifest.parquet", "lineage.jsonl"
_UNSAFE = re.compile(r"[^\w.+ -]|^\.+", re.UNICODE)
_WORKERS, _WINDOW = 4, 256

Row = dict[str, Any]


@dataclass(frozen=True)
class ExportSummary:
    """What was exported. `kept_count` are files that were there already, whole."""

    out: Path
    written_count: int
    kept_count: int
    class_counts: dict[str, int]


def export_image_folder(
    store: ObjectStore,
    manifest_uri: str,
    out: Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
) -> ExportSummary:
    """Writes the images of an augmentation manifest as OUT/CLASS/ITEM_ID.png.

    OUT also gets `manifest.parquet`, the manifest itself, and `lineage.jsonl`, one line per image
    with its file and its full lineage. Every file appears whole or not at all, and the manifest
    last, so that a folder with a manifest is complete. Raises Precondition if OUT exists with
    anything in it: `resume` goes on with an export of the same manifest, `overwrite` writes over
    whatever is there (it deletes nothing else).
    """
    manifest = store.get(to_key(manifest_uri))
    rows: list[Row] = pq.read_table(io.BytesIO(manifest)).to_pylist()
    _check_out(out, manifest, overwrite=overwrite, resume=resume)
    try:
        out.mkdir(parents=True, exist_ok=True)
        _write(out / ".manifest.sha256", sha256_of(manifest).encode())
        written = sum(_parallel(store, rows, out, overwrite=overwrite))
        lines = (json.dumps(_lineage(row), sort_keys=True) for row in rows)
        _write(out / LINEAGE, "".join(f"{line}\n" for line in lines).encode())
        _write(out / MANIFEST, manifest)
    except OSError as error:
        raise Exhausted(
            f"{out} cannot be written: {error.strerror or error}; make room or choose another "
            "folder, then run the same command with --resume",
            reason="OUTPUT_UNWRITABLE",
        ) from error
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["class_name"]] = counts.get(row["class_name"], 0) + 1
    return ExportSummary(out, written, len(rows) - written, counts)


def folder_of(class_name: str) -> str:
    """Returns a folder name for a class: its own where that is safe on any file system."""
    safe = _UNSAFE.sub("_", class_name).strip(" .")[:100]
    return (
        safe
        if safe and safe == class_name
        else f"{safe or 'class'}-{sha256_of(class_name.encode())[:8]}"
    )


def _check_out(out: Path, manifest: bytes, *, overwrite: bool, resume: bool) -> None:
    if overwrite or not out.exists():
        return
    if not out.is_dir():
        raise Precondition(
            f"{out} is a file; choose another folder", subject=str(out), reason="OUTPUT_EXISTS"
        )
    if not any(out.iterdir()):
        return
    mark = out / ".manifest.sha256"
    same = mark.is_file() and mark.read_text() == sha256_of(manifest)
    if resume and same:
        return
    what = "holds something else than an export of this augmentation" if resume else "exists"
    raise Precondition(
        f"{out} {what}; use --resume to go on with the same export, --overwrite to write over it, "
        "or choose another folder",
        subject=str(out),
        reason="OUTPUT_EXISTS",
    )


def _parallel(store: ObjectStore, rows: list[Row], out: Path, *, overwrite: bool) -> Iterator[bool]:
    """Yields for each row whether its file had to be written."""

    def one(row: Row) -> bool:
        path = out / _file(row)
        if not overwrite and path.is_file() and sha256_of(path.read_bytes()) == row["sha256"]:
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, store.get(to_key(row["image_uri"])))
        return True

    iterator = iter(rows)
    with ThreadPoolExecutor(_WORKERS) as pool:
        while window := list(islice(iterator, _WINDOW)):
            yield from pool.map(one, window)


def _file(row: Row) -> str:
    suffix = Path(to_key(row["image_uri"])).suffix or ".png"
    return f"{folder_of(row['class_name'])}/{row['item_id']}{suffix}"


def _lineage(row: Row) -> Row:
    return {**row, "file": _file(row), "lineage": json.loads(row["lineage"])}


def _write(path: Path, data: bytes) -> None:
    """Writes a file beside its name and renames it into place."""
    staged = path.parent / f".{uuid.uuid4().hex}.part"
    try:
        with staged.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)
