"""Reads images of the object store."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from imaging.decode import ImageRejected, decode_image
from servicekit.errors import InvalidArgument, NotFound
from servicekit.storage import ObjectStore, get_many, to_key


@dataclass(frozen=True)
class StoredImage:
    """A decoded image of the store."""

    uri: str
    # SHA-256 of the object, in hexadecimal.
    sha256: str
    image: Image.Image


def read_images(
    store: ObjectStore, uris: Sequence[str], fields: Sequence[str]
) -> list[StoredImage]:
    """Returns the images, in order.

    Raises NotFound or InvalidArgument naming the first that is missing or cannot be decoded;
    `fields` are the paths of the URIs in the request.
    """
    keys = [to_key(uri, field) for uri, field in zip(uris, fields, strict=True)]
    found = zip(get_many(store, keys), uris, fields, strict=True)
    return [_decode(data, uri, field) for data, uri, field in found]


def try_image(store: ObjectStore, uri: str) -> StoredImage | None:
    """Returns the image, or None if it is missing or cannot be decoded.

    Raises InvalidArgument if `uri` is no object store URI, and whatever the store raises when it
    cannot be reached: that says nothing about the image.
    """
    key = to_key(uri, "image_uri")
    try:
        data = store.get(key)
        return StoredImage(uri, hashlib.sha256(data).hexdigest(), decode_image(data, uri))
    except (NotFound, ImageRejected):
        return None


def _decode(data: bytes, uri: str, field: str) -> StoredImage:
    try:
        return StoredImage(uri, hashlib.sha256(data).hexdigest(), decode_image(data, uri))
    except ImageRejected as error:
        raise InvalidArgument(
            error.message, field=field, reason=error.reason, metadata={"image_uri": uri}
        ) from error
