"""Decodes untrusted images: limits first, format by content, always upright sRGB of 8 bits."""

import io
import warnings
from dataclasses import dataclass
from typing import Any

from PIL import Image

from imaging.colour import to_srgb
from imaging.formats import READ, SUFFIXES, is_known, name_of
from imaging.metadata import turn_of, without_metadata
from imaging.rejection import ImageRejected
from imaging.samples import stated_by, to_eight_bits

__all__ = ["VERSION", "Decoded", "ImageRejected", "Limits", "decode", "decode_image"]

# Raise it when the same bytes give other pixels: whatever is kept of decoded images is then made
# again.
VERSION = 2

# Pillow warns about odd metadata and about sizes that we refuse ourselves. Silenced once and for
# all: to do it around each call would change the filters of every other thread.
warnings.filterwarnings("ignore", module=r"PIL\.")

# An image is said to be almost black where no sample is above this, of 255.
_ALMOST_BLACK = 15
_LONGEST_CAUSE = 200
# Tags of TIFF: what kind of picture a page is, and what only camera raws have.
_PAGE_KIND, _REDUCED, _DNG_VERSION = 254, 1, 50706


@dataclass(frozen=True)
class Limits:
    """What is refused before any pixel is decoded."""

    max_bytes: int = 64 * 1024 * 1024
    max_pixels: int = 50_000_000


@dataclass(frozen=True)
class Decoded:
    """An RGB image, the suffix of files of its format, and what had to be assumed to read it."""

    image: Image.Image
    suffix: str
    notes: tuple[str, ...] = ()


def decode_image(data: bytes, name: str = "image", limits: Limits = Limits()) -> Image.Image:
    """Returns the image that `decode` returns."""
    return decode(data, name, limits).image


def decode(data: bytes, name: str = "image", limits: Limits = Limits()) -> Decoded:
    """Decodes `data` to upright sRGB.

    Of an animation or a file of several pictures the first is taken; colours are converted from
    the file's profile; samples of more than 8 bits are scaled (samples.py); transparency is laid on
    white. Broken metadata does not lose a picture. Whatever else is wrong raises ImageRejected with
    the reason EMPTY, TOO_MANY_BYTES, NOT_AN_IMAGE, UNSUPPORTED_FORMAT, TOO_MANY_PIXELS,
    VALUE_RANGE, NO_MEMORY or TRUNCATED.
    """
    if not data:
        raise ImageRejected("EMPTY", f"{name} is empty (0 bytes)")
    if len(data) > limits.max_bytes:
        raise ImageRejected(
            "TOO_MANY_BYTES", f"{name} has {len(data)} bytes; at most {limits.max_bytes} are read"
        )
    try:
        return _decode(data, name, limits)
    except ImageRejected as error:
        # Metadata that cannot be read must not cost a picture that can.
        bare = without_metadata(data) if error.reason in ("TRUNCATED", "NOT_AN_IMAGE") else None
        if bare is None:
            raise
        try:
            found = _decode(bare, name, limits)
        except ImageRejected:
            raise error from None
        note = "metadata is damaged: read without it, and without its orientation and profile"
        return Decoded(found.image, found.suffix, (note, *found.notes))


def _decode(data: bytes, name: str, limits: Limits) -> Decoded:
    try:
        image = _open(data, name)
        _check_size(image, name, limits)
        stated = stated_by(image)
        image.load()
        kind = image.format or ""
        turn, note = _turn(image)
        eight, scaling = to_eight_bits(image, stated, lambda: _open(data, name), name)
        rgb, colour = to_srgb(eight)
        upright = rgb if turn is None else rgb.transpose(turn)
        notes = (scaling, colour, note, _darkness(upright))
        return Decoded(upright, SUFFIXES[kind], tuple(note for note in notes if note))
    except ImageRejected:
        raise
    except Image.DecompressionBombError as error:
        raise ImageRejected("TOO_MANY_PIXELS", f"{name}: {error}") from error
    except MemoryError as error:
        raise ImageRejected("NO_MEMORY", f"{name} needs more memory than there is") from error
    except Exception as error:  # Decoders raise anything; it is always this one file's fault.
        cause = " ".join(str(error).split())[:_LONGEST_CAUSE] or type(error).__name__
        raise ImageRejected("TRUNCATED", f"{name} is cut off or damaged: {cause}") from error


def _open(data: bytes, name: str) -> Image.Image:
    if foreign := name_of(data):
        raise _unsupported(name, foreign)
    try:
        image = Image.open(io.BytesIO(data), formats=READ)
    except Image.DecompressionBombError:
        raise
    except Exception as error:
        if is_known(data):
            raise ImageRejected(
                "TRUNCATED", f"{name} is cut off or damaged: its header cannot be read"
            ) from error
        raise ImageRejected("NOT_AN_IMAGE", f"{name} is not an image that can be read") from error
    tags: Any = getattr(image, "tag_v2", {})
    if _DNG_VERSION in tags or _is_reduced(tags):
        # What comes first in a camera's raw file is a small preview.
        raise _unsupported(name, "DNG (camera raw)" if _DNG_VERSION in tags else "a camera raw")
    return image


def _is_reduced(tags: Any) -> bool:
    kind = tags.get(_PAGE_KIND, 0)
    return isinstance(kind, int) and bool(kind & _REDUCED)


def _unsupported(name: str, kind: str) -> ImageRejected:
    known = ", ".join(READ)
    more = ", or install variegate[heic]" if kind in ("HEIC", "HEIF") else ""
    return ImageRejected(
        "UNSUPPORTED_FORMAT", f"{name} is {kind}; convert it to one of {known}{more}"
    )


def _check_size(image: Image.Image, name: str, limits: Limits) -> None:
    width, height = image.size
    if width * height > limits.max_pixels:
        raise ImageRejected(
            "TOO_MANY_PIXELS",
            f"{name} is {width} x {height}; at most {limits.max_pixels:,} pixels are decoded",
        )


def _turn(image: Image.Image) -> tuple[Image.Transpose | None, str]:
    try:
        return turn_of(image), ""
    except Exception:  # Pillow parses untrusted bytes; see above.
        return None, "orientation cannot be read: taken as it is stored"


def _darkness(image: Image.Image) -> str:
    most = max(int(high) for _, high in image.getextrema())  # type: ignore[misc]
    return (
        f"almost black: no sample is above {_ALMOST_BLACK} of 255" if most <= _ALMOST_BLACK else ""
    )
