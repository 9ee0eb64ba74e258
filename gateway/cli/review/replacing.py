"""An output whose rejected images are replaced: what goes before its new export, and after it.

A process may be killed anywhere here: the folder is marked as unfinished, and the same command goes
on with it.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from gateway.cli.review.log import Review

_MANIFEST = "manifest.parquet"
# The manifest last: it says which files go.
_BESIDE = ("metadata.parquet", "lineage.jsonl", _MANIFEST)


def clear_rejected(folder: Path, review: Review) -> int:
    """Deletes the rejected images, all shards, and the files that name them.

    Returns how many other images are no longer there: a person deleted them, and the new export
    will write them again.
    """
    if not (folder / _MANIFEST).is_file():
        return 0
    rejected, strays, lost = review.rejected, _strays(folder), 0
    for sha256, place in _rows(folder / _MANIFEST):
        path, stray = folder / place, strays.get(sha256)
        if sha256 in rejected:
            path.unlink(missing_ok=True)
            if stray:
                stray.unlink()
        elif path.parent.suffix != ".tar" and not stray and not path.is_file():
            lost += 1
    for shard in folder.glob("*.tar"):
        shard.unlink()
    for name in _BESIDE:
        (folder / name).unlink(missing_ok=True)
    return lost


def keep_moved(folder: Path) -> None:
    """Deletes images that were written again beside the ones that a person moved to the folder of
    another class."""
    strays = _strays(folder)
    for sha256, place in _rows(folder / _MANIFEST):
        if sha256 in strays:
            (folder / place).unlink(missing_ok=True)


def _rows(manifest: Path) -> Iterator[tuple[str, str]]:
    """Yields the digest of each image of a manifest, and its place below the folder."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(manifest) as file:
        for batch in file.iter_batches(columns=["sha256", "file_name"]):
            columns = (batch.column(name).to_pylist() for name in ("sha256", "file_name"))
            yield from zip(*columns, strict=True)


def _strays(folder: Path) -> dict[str, Path]:
    """Returns the files in folders of classes that the manifest does not name, by their digests."""
    named = {place for _, place in _rows(folder / _MANIFEST)}
    return {
        hashlib.sha256(path.read_bytes()).hexdigest(): path
        for one in folder.iterdir()
        if one.is_dir() and not one.is_symlink()
        for path in one.iterdir()
        if path.is_file() and f"{one.name}/{path.name}" not in named
    }
