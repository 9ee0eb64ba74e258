"""Pictures as data URIs, so that a report needs no file beside it."""

import base64
import io

from PIL import Image

# Images up to this size are embedded as they are; larger ones are scaled down to it.
MAX_SIDE = 192
_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}


def data_uri(data: bytes) -> str:
    """A data URI of PNG, JPEG or WebP bytes of the object store, at most 192 pixels a side.

    Raises OSError if the bytes are no image.
    """
    with Image.open(io.BytesIO(data)) as image:
        kind = _TYPES.get(image.format or "")
        if kind and max(image.size) <= MAX_SIDE:
            return _encode(data, kind)
        small = image.convert("RGB")
    small.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return _encode(buffer.getvalue(), "image/jpeg")


def _encode(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
