"""Untrusted metadata: read where it can be, cut out where it breaks a file."""

import struct

from PIL import ExifTags, Image

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
# JPEG segments without which pixels change: everything but APP1 to APP13, APP15 and comments.
_JPEG_METADATA = {*range(0xE1, 0xEE), 0xEF, 0xFE}
_SCAN, _END = 0xDA, 0xD9


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """Returns what makes a loaded image upright; None if it is. Raises whatever Pillow raises."""
    return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))


def without_metadata(data: bytes) -> bytes | None:
    """Returns the PNG or JPEG file with nothing but its picture; None if there is nothing to cut.

    Colour profile, orientation and texts are lost.
    """
    parts = None
    if data.startswith(_PNG):
        parts = _png_parts(data)
    elif data.startswith(_JPEG):
        parts = _jpeg_parts(data)
    cut = b"".join(parts) if parts else data
    return cut if len(cut) < len(data) else None


def _png_parts(data: bytes) -> list[bytes]:
    """Returns the signature and the critical chunks, which an upper case letter tells, and tRNS."""
    parts, at = [_PNG], len(_PNG)
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        if kind[0] < 0x60 or kind == b"tRNS":
            parts.append(data[at : at + size + 12])
        at += size + 12
    return parts


def _jpeg_parts(data: bytes) -> list[bytes]:
    """Returns the segments up to the first scan, less metadata, and all that follows."""
    parts, at = [_JPEG], len(_JPEG)
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] not in (_SCAN, _END):
        size = 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] not in _JPEG_METADATA:
            parts.append(data[at : at + size])
        at += size
    return [*parts, data[at:]]
