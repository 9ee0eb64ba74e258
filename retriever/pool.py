"""Reads image pools: parquet files of images with their captions and classes."""

import hashlib
import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from imaging.decode import ImageRejected, decode_image
from servicekit.errors import InvalidArgument, NotFound, ServiceError
from servicekit.storage import ObjectStore, to_key, to_uri

_EXTENSIONS = {"JPEG": "jpg", "TIFF": "tif"}
_WORKERS = 8


@dataclass(frozen=True)
class PoolRow:
    """One row of a pool: image bytes, or the URI of an image, and what is known about it."""

    data: bytes | None
    image_uri: str
    caption: str
    label: int
    class_name: str


@dataclass(frozen=True)
class PoolImage:
    """A row whose image is in the store and could be decoded."""

    image_uri: str
    sha256: str
    caption: str
    label: int
    class_name: str
    image: Image.Image


class Pool:
    """A pool's parquet file.

    Raises InvalidArgument naming `pool_uri` if the file is not parquet, has no image column or has
    no rows, and NotFound if it does not exist.
    """

    def __init__(self, store: ObjectStore, uri: str) -> None:
        data = store.get(to_key(uri, "pool_uri"))
        self.uri = uri
        self.digest = hashlib.sha256(data).hexdigest()
        try:
            self._file = pq.ParquetFile(pa.BufferReader(data))
        except pa.ArrowException as error:
            raise _bad_pool(f"{uri} is not a parquet file: {error}", "NOT_PARQUET") from error
        self._columns = self._known_columns()
        self.count = int(self._file.metadata.num_rows)
        if self.count == 0:
            raise empty_pool(f"the pool {uri} has no rows; give one with at least one image")

    def batches(self, size: int) -> Iterator[list[PoolRow]]:
        """Yields the rows in order, `size` at a time; the same file gives the same batches."""
        for batch in self._file.iter_batches(batch_size=size, columns=self._columns):
            yield [_row(values) for values in batch.to_pylist()]

    def _known_columns(self) -> list[str]:
        schema = self._file.schema_arrow
        known = ("image", "image_uri", "caption", "label", "class_name")
        columns = [name for name in known if name in schema.names]
        image = schema.field("image").type if "image" in columns else pa.null()
        has_bytes = isinstance(image, pa.StructType) and image.get_field_index("bytes") >= 0
        if not has_bytes and "image_uri" not in columns:
            raise _bad_pool(
                f"the pool {self.uri} has the columns {', '.join(schema.names)}; it needs "
                "image_uri, or image with a field bytes",
                "POOL_COLUMNS",
            )
        return columns if has_bytes else [name for name in columns if name != "image"]


def read_pool_images(store: ObjectStore, rows: Sequence[PoolRow]) -> list[PoolImage | None]:
    """Stores what came as bytes and decodes all; None for what is missing or no image."""
    with ThreadPoolExecutor(_WORKERS) as threads:
        return list(threads.map(lambda row: _read(store, row), rows))


def empty_pool(message: str) -> ServiceError:
    """Returns the error of a pool without a usable image."""
    return _bad_pool(message, "EMPTY_POOL")


def _bad_pool(message: str, reason: str) -> ServiceError:
    return InvalidArgument(message, field="pool_uri", reason=reason)


def _row(values: dict[str, Any]) -> PoolRow:
    label = values.get("label")
    return PoolRow(
        data=(values.get("image") or {}).get("bytes"),
        image_uri=values.get("image_uri") or "",
        caption=values.get("caption") or "",
        label=-1 if label is None else int(label),
        class_name=values.get("class_name") or "",
    )


def _read(store: ObjectStore, row: PoolRow) -> PoolImage | None:
    try:
        data = row.data or store.get(to_key(row.image_uri, "image_uri"))
        image = decode_image(data, row.image_uri or "a row of the pool")
    except (ImageRejected, NotFound, InvalidArgument):
        return None
    sha256 = hashlib.sha256(data).hexdigest()
    uri = _store_image(store, sha256, data) if row.data else row.image_uri
    return PoolImage(uri, sha256, row.caption, row.label, row.class_name, image)


def _store_image(store: ObjectStore, sha256: str, data: bytes) -> str:
    with Image.open(io.BytesIO(data)) as image:
        kind = image.format or "bin"
    key = f"images/{sha256[:2]}/{sha256}.{_EXTENSIONS.get(kind, kind.lower())}"
    store.put(key, data)
    return to_uri(key)
