"""Damaged files: whatever a decoder raises is one file's fault, and metadata costs no picture."""

import random
import struct
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from imaging.decode import ImageRejected, decode, decode_image
from tests.imaging.files import (
    GRADIENT,
    encoded,
    exif_of,
    picture,
    png_chunk,
    png_of,
    tiff_of,
)

# Orientation 6, a date as FLOAT, a resolution as SLONG -1: EXIF that Pillow cannot write again.
ODD_EXIF = exif_of(
    (0x0112, 3, struct.pack("<HH", 6, 0)),
    (306, 11, struct.pack("<f", 1.5)),
    (282, 9, struct.pack("<i", -1)),
)
SMALL = picture((24, 18))
SEEDS = {
    "jpeg": lambda: encoded(SMALL, format="JPEG", exif=ODD_EXIF),
    "cmyk": lambda: encoded(SMALL.convert("CMYK"), format="JPEG"),
    "mpo": lambda: encoded(SMALL, format="MPO", save_all=True, append_images=[SMALL]),
    "png": lambda: encoded(SMALL, format="PNG", exif=ODD_EXIF),
    "palette": lambda: encoded(SMALL.convert("P"), format="PNG"),
    "png16": lambda: png_of(np.full((10, 12, 3), 300)),
    "webp": lambda: encoded(SMALL, format="WEBP", exif=ODD_EXIF),
    "gif": lambda: encoded(SMALL, format="GIF", save_all=True, append_images=[SMALL.rotate(180)]),
    "bmp": lambda: encoded(SMALL, format="BMP"),
    "tiff": lambda: encoded(SMALL, format="TIFF"),
    "lzw": lambda: encoded(SMALL, format="TIFF", compression="tiff_lzw"),
    "float": lambda: tiff_of(np.linspace(0, 1, 120, dtype="f4").reshape(10, 12), 32, 3),
    "ppm": lambda: encoded(SMALL, format="PPM"),
    "plain": lambda: b"P3 2 2 255\n" + b"1 2 3 " * 4,
    "avif": lambda: encoded(SMALL, format="AVIF"),
    "heic": lambda: encoded(SMALL, format="HEIF"),
}


def mutated(data: bytes, rng: random.Random) -> bytes:
    kind, at = rng.random(), rng.randrange(len(data))
    if kind < 0.15:
        return data[:at]
    if kind < 0.25:
        return data[:at] + rng.randbytes(8) + data[at:]
    if kind < 0.35:
        return data[:at] + data[at + 10 :]
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        changed[rng.randrange(min(len(data), rng.choice((64, 10**6))))] = rng.choice(
            (0, 1, 127, 128, 255, rng.randrange(256))
        )
    return bytes(changed)


@pytest.mark.parametrize("kind", SEEDS)
def test_damaged_bytes_give_an_rgb_image_or_a_rejection_and_nothing_else(kind: str):
    data, rng = SEEDS[kind](), random.Random(kind)
    assert decode(data).image.mode == "RGB"
    rejected = 0
    for _ in range(150):
        try:
            assert decode_image(mutated(data, rng), "cat").mode == "RGB"
        except ImageRejected as error:
            rejected += 1
            assert error.reason and "cat" in error.message
    assert rejected


@pytest.mark.parametrize("error", [KeyError("x"), RecursionError(), ZeroDivisionError(), OSError()])
def test_whatever_a_decoder_raises_is_this_file_s_fault(error: Exception, monkeypatch):
    def load(image: Image.Image) -> None:
        raise error

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    with pytest.raises(ImageRejected) as caught:
        decode_image(encoded(SMALL, format="BMP"), "cat.bmp")
    assert caught.value.reason == "TRUNCATED" and "cat.bmp" in caught.value.message


def test_memory_that_is_short_is_no_damage(monkeypatch):
    def load(image: Image.Image) -> None:
        raise MemoryError

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    with pytest.raises(ImageRejected) as caught:
        decode_image(encoded(SMALL, format="BMP"))
    assert caught.value.reason == "NO_MEMORY"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_odd_exif_costs_neither_the_picture_nor_its_orientation(kind: str):
    found = decode(encoded(picture(), format=kind, exif=ODD_EXIF, quality=95))
    assert found.image.size == (48, 64) and not found.notes
    turned = np.rot90(GRADIENT, -1).astype(int)
    assert np.abs(np.asarray(found.image).astype(int) - turned).mean() < 6


def test_an_orientation_that_is_none_leaves_the_picture_as_it_is():
    for value in (0, 9, 65535):
        exif = exif_of((0x0112, 3, struct.pack("<HH", value, 0)))
        assert decode(encoded(picture(), format="PNG", exif=exif)).image.size == (64, 48)


def test_a_huge_text_is_cut_out_and_said():
    import zlib

    png = encoded(picture(), format="PNG")
    text = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(40_000_000)))
    found = decode(png[:33] + text + png[33:])
    assert np.array_equal(np.asarray(found.image), GRADIENT)
    assert any("metadata is damaged" in note for note in found.notes)


def test_no_call_changes_the_process_s_warning_filters(monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("the filters belong to all threads")

    monkeypatch.setattr(warnings, "catch_warnings", refuse)
    monkeypatch.setattr(warnings, "simplefilter", refuse)
    jpeg = SEEDS["jpeg"]()
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as threads:
        assert len(list(threads.map(decode_image, [jpeg] * 40))) == 40
    assert list(warnings.filters) == before
