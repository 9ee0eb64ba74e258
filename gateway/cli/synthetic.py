"""A folder that `augment` wrote, back in the object store for training."""

import hashlib
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.cli.failures import CliError
from servicekit.storage import ObjectStore, to_key, to_uri

_IMAGES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tiff"}


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


def store_synthetic(store: ObjectStore, folder: Path) -> str:
    """Returns the URI of the folder's manifest with every image in the store.

    Only what the folder still holds is used: whoever deletes an image from it does not train on
    it. Raises CliError if it is no folder of `augment`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    manifest = folder / "manifest.parquet"
    if not manifest.is_file():
        raise CliError(
            f"{folder} has no manifest.parquet, so it is no output of `variegate augment`.",
            exit_code=3,
            remedy="Give the folder that was its --out.",
            reason="NO_MANIFEST",
        )
    table = pq.read_table(manifest)
    files = _by_digest(folder)
    rows = []
    for row in table.to_pylist():
        found = files.get(row["sha256"])
        if found is not None:
            rows.append({**row, "image_uri": _put(store, row, found)})
    if not rows:
        raise CliError(f"{folder} holds none of the images of its manifest.", exit_code=3)
    buffer = io.BytesIO()
    schema = table.schema.remove_metadata()
    pq.write_table(pa.Table.from_pylist(rows, schema), buffer, compression="zstd")
    key = f"synthetic/{hashlib.sha256(buffer.getvalue()).hexdigest()}.parquet"
    store.put(key, buffer.getvalue())
    return to_uri(key)


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
