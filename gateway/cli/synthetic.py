"""A folder that `augment` wrote, back in the object store for training."""

import hashlib
import io
from pathlib import Path
from typing import Any

from gateway.cli.failures import CliError
from servicekit.storage import ObjectStore, to_key, to_uri


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
        file = files.get(row["sha256"])
        if file is not None:
            rows.append({**row, "image_uri": _put(store, row, file)})
    if not rows:
        raise CliError(f"{folder} holds none of the images of its manifest.", exit_code=3)
    buffer = io.BytesIO()
    schema = table.schema.remove_metadata()
    pq.write_table(pa.Table.from_pylist(rows, schema), buffer, compression="zstd")
    key = f"synthetic/{hashlib.sha256(buffer.getvalue()).hexdigest()}.parquet"
    store.put(key, buffer.getvalue())
    return to_uri(key)


def _put(store: ObjectStore, row: dict[str, Any], file: Path) -> str:
    uri = str(row.get("image_uri") or "")
    if uri.startswith("store:") and store.exists(to_key(uri)):
        return uri
    digest = row["sha256"]
    key = f"images/{digest[:2]}/{digest}{file.suffix.lower()}"
    store.put(key, file.read_bytes())
    return to_uri(key)


def _by_digest(folder: Path) -> dict[str, Path]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        hashlib.sha256(path.read_bytes()).hexdigest(): path
        for path in files
        if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tiff")
    }
