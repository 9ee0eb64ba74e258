"""Decodes untrusted images: limits first, format by content, always RGB."""

import io
import warnings
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")


@dataclass(frozen=True)
class Limits:
    """What is refused before any pixel is decoded."""

    max_bytes: int = 64 * 1024 * 1024
    max_pixels: int = 50_000_000


class ImageRejected(ValueError):
    """An image that cannot be used. `reason` is machine-readable, the text is for people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def decode_image(data: bytes, name: str = "image", limits: Limits = Limits()) -> Image.Image:
    """Returns the RGB image in `data`, upright by its EXIF orientation.

    Of an animation the first frame is taken; 16-bit grey is scaled to 8 bits; transparency is laid
    on white. Raises ImageRejected with the reason EMPTY, TOO_MANY_BYTES, NOT_AN_IMAGE,
    UNSUPPORTED_FORMAT, TOO_MANY_PIXELS or TRUNCATED.
    """
    if not data:
        raise ImageRejected("EMPTY", f"{name} is empty (0 bytes)")
    if len(data) > limits.max_bytes:
        raise ImageRejected(
            "TOO_MANY_BYTES", f"{name} has {len(data)} bytes; at most {limits.max_bytes} are read"
        )
    with warnings.catch_warnings():
        # Pillow warns about sizes that we refuse ourselves, and about odd metadata.
        warnings.simplefilter("ignore")
        image = _open(data, name)
        _check_size(image, name, limits)
        return _to_rgb(_load(image, name))


def _open(data: bytes, name: str) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data))
    except Image.DecompressionBombError as error:
        raise ImageRejected("TOO_MANY_PIXELS", f"{name}: {error}") from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise ImageRejected("NOT_AN_IMAGE", f"{name} is not an image that can be read") from error
    if image.format not in FORMATS:
        raise ImageRejected(
            "UNSUPPORTED_FORMAT", f"{name} is {image.format}; use one of {', '.join(FORMATS)}"
        )
    return image


def _check_size(image: Image.Image, name: str, limits: Limits) -> None:
    width, height = image.size
    if width * height > limits.max_pixels:
        raise ImageRejected(
            "TOO_MANY_PIXELS",
            f"{name} is {width} x {height}; at most {limits.max_pixels:,} pixels are decoded",
        )


def _load(image: Image.Image, name: str) -> Image.Image:
    try:
        image.seek(0)
        image.load()
        return ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError) as error:
        raise ImageRejected("TRUNCATED", f"{name} is cut off or damaged: {error}") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":
        values = np.asarray(image).astype(np.uint32)
        return Image.fromarray((values >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        return Image.fromarray(np.asarray(image).clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        white = Image.new("RGBA", layered.size, "white")
        return Image.alpha_composite(white, layered).convert("RGB")
    return image.convert("RGB")
