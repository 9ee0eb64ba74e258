"""Encodes images so that equal pixels give equal bytes."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def encode_png(image: Image.Image | NDArray[np.uint8]) -> bytes:
    """Returns the PNG of an RGB image or a uint8 array [height, width, 3], without metadata."""
    if not isinstance(image, Image.Image):
        image = Image.fromarray(np.ascontiguousarray(image))
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()
