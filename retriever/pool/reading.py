"""Reads the images of a pool's rows: stores what came as bytes, decodes all, takes fingerprints."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from PIL import Image

from datafiles.rejected import RejectedFile
from imaging.decode import ImageRejected, decode
from imaging.fingerprint import Thumbnail, thumbnail_of
from imaging.hashing import pixel_sha256
from retriever.pool.base import PoolRow
from servicekit.errors import InvalidArgument, NotFound
from servicekit.storage import ObjectStore, to_key, to_uri

_WORKERS = 8


@dataclass(frozen=True)
class PoolImage:
    """A row whose image is in the store and could be decoded."""

    image_uri: str
    sha256: str
    row: PoolRow
    image: Image.Image
    pixel_sha256: str
    thumbnail: Thumbnail


def read_pool_images(store: ObjectStore, rows: Sequence[PoolRow]) -> list[PoolImage | RejectedFile]:
    """Returns one image per row, in order, or why it is left out."""
    with ThreadPoolExecutor(_WORKERS) as threads:
        return list(threads.map(lambda row: _read(store, row), rows))


def _read(store: ObjectStore, row: PoolRow) -> PoolImage | RejectedFile:
    name = row.image_uri or row.name
    if not row.data and not row.image_uri:
        return RejectedFile(name, "EMPTY", f"{name} has no image")
    try:
        data = row.data or store.get(to_key(row.image_uri, "image_uri"))
        decoded = decode(data, name)
    except NotFound as error:
        return RejectedFile(name, "MISSING", f"{name} is missing: {error.message}")
    except (ImageRejected, InvalidArgument) as error:
        return RejectedFile(name, error.reason, error.message)
    image, sha256 = decoded.image, hashlib.sha256(data).hexdigest()
    uri = _store_image(store, sha256, data, decoded.suffix) if row.data else row.image_uri
    return PoolImage(uri, sha256, row, image, pixel_sha256(image), thumbnail_of(image))


def _store_image(store: ObjectStore, sha256: str, data: bytes, suffix: str) -> str:
    key = f"images/{sha256[:2]}/{sha256}.{suffix}"
    store.put(key, data)
    return to_uri(key)
