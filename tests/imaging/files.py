"""Image files for tests, made by the tests: formats, tags, profiles."""

import io
import struct

import numpy as np
from PIL import Image

GRADIENT = np.dstack(np.broadcast_arrays(*np.ogrid[0:240:48j, 0:240:64j], 90)).astype(np.uint8)


def picture(size: tuple[int, int] = (64, 48)) -> Image.Image:
    return Image.fromarray(GRADIENT).resize(size)


def encoded(image: Image.Image, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, **options)
    return buffer.getvalue()


def exif_of(*entries: tuple[int, int, bytes]) -> bytes:
    """EXIF of (tag, type, 4 bytes) entries of one value each, as careless cameras write it."""
    count = struct.pack("<H", len(entries))
    rows = b"".join(struct.pack("<HHI", tag, kind, 1) + value for tag, kind, value in entries)
    return b"Exif\0\0II*\0" + struct.pack("<I", 8) + count + rows + bytes(4)


def tiff_of(values: np.ndarray, bits: int, sample_format: int = 1, **tags: int) -> bytes:
    """A grey, uncompressed little-endian TIFF of the array's bytes; `tags` are t262=0 and so on."""
    height, width = values.shape
    entries = {256: width, 257: height, 258: bits, 259: 1, 262: 1, 277: 1, 278: height}
    entries |= {339: sample_format} | {int(name[1:]): value for name, value in tags.items()}
    data = values.astype(values.dtype.newbyteorder("<")).tobytes()
    entries |= {273: 8 + 2 + 12 * (len(entries) + 2) + 4, 279: len(data)}
    rows = b"".join(
        struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(entries.items())
    )
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + rows + bytes(4) + data


def png_of(values: np.ndarray) -> bytes:
    """A 16-bit PNG: grey [h, w], grey and alpha [h, w, 2], RGB or RGBA."""
    import zlib

    height, width = values.shape[:2]
    bands = 1 if values.ndim == 2 else values.shape[2]
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[bands]
    rows = values.astype(">u2").reshape(height, -1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(raw)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(map(png_chunk, *zip(*chunks, strict=True)))


def png_chunk(kind: bytes, data: bytes) -> bytes:
    import zlib

    checksum = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + checksum
