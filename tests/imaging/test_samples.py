"""Samples of more than eight bits: by the stated range, by the image's own with a note, or not."""

import numpy as np
import pytest
from PIL import Image

from imaging.decode import ImageRejected, decode
from tests.imaging.files import GRADIENT, encoded, picture, png_of, tiff_of

RAMP = np.linspace(0, 1, 48 * 64).reshape(48, 64)


def ramp(depth: int) -> np.ndarray:
    return (RAMP * (2**depth - 1)).astype(np.uint32)


def shows(found, expected: np.ndarray, tolerance: int = 1) -> bool:
    return bool(np.abs(np.asarray(found.image).astype(int) - expected).max() <= tolerance)


GREY = np.round(RAMP * 255)[..., None].repeat(3, axis=2)


@pytest.mark.parametrize("depth", [8, 10, 12, 14])
def test_values_that_use_few_bits_are_read_by_the_depth_that_holds_them(depth: int):
    values = ramp(depth)
    files = (
        (png_of(values), 16),
        (tiff_of(values.astype("u2"), 16), 16),
        (tiff_of(values.astype("i4"), 32, 2), 32),
        (tiff_of(values.astype("u4"), 32, 1), 32),
    )
    for data, bits in files:
        found = decode(data)
        assert shows(found, GREY)
        assert found.notes == (f"{bits}-bit samples read as {depth}-bit: none is larger",)


def test_the_whole_sixteen_bits_need_no_note():
    for data in (png_of(ramp(16)), tiff_of(ramp(16).astype("u2"), 16)):
        found = decode(data)
        assert shows(found, GREY) and not found.notes


@pytest.mark.parametrize("bands", [2, 3, 4])
def test_colour_of_sixteen_bits_that_uses_twelve_is_not_black(bands: int):
    colours = np.stack([ramp(12)] * (bands if bands == 3 else bands - 1), axis=2)
    opaque = np.full((48, 64, 1), 65535)
    values = colours if bands == 3 else np.concatenate([colours, opaque], axis=2)
    found = decode(png_of(values))
    assert shows(found, GREY) and "read as 12-bit" in found.notes[0]
    full = decode(png_of(np.stack([ramp(16)] * 3, axis=2)))
    assert shows(full, GREY) and not full.notes


def test_a_stated_range_is_honoured_without_a_note():
    stated = decode(tiff_of(ramp(12).astype("u2"), 16, t340=0, t341=4095))
    assert shows(stated, GREY) and not stated.notes
    inverted = decode(tiff_of(ramp(16).astype("u2"), 16, t262=0))
    assert shows(inverted, 255 - GREY)
    pgm = b"P5 64 48 4095\n" + ramp(12).astype(">u2").tobytes()
    assert shows(decode(pgm), GREY) and not decode(pgm).notes


@pytest.mark.parametrize(("top", "scale"), [(1, 1), (255, 255), (4095, 4095), (65535, 65535)])
def test_floating_point_values_are_read_on_the_scale_that_holds_them(top: int, scale: int):
    found = decode(tiff_of((RAMP * top).astype("f4"), 32, 3))
    assert shows(found, GREY)
    assert found.notes == (f"floating-point samples read on the scale 0 to {scale}",)


@pytest.mark.parametrize(
    "values",
    [RAMP - 0.5, RAMP * 3.7, RAMP * 1e6, np.where(RAMP > 0.5, np.nan, RAMP), RAMP / 0.0001 - 1],
)
def test_floating_point_values_on_no_known_scale_are_refused(values: np.ndarray):
    with pytest.raises(ImageRejected) as caught:
        decode(tiff_of(values.astype("f4"), 32, 3), "cat.tif")
    assert caught.value.reason == "VALUE_RANGE" and "cat.tif" in caught.value.message


def test_whole_numbers_on_no_known_scale_are_refused():
    for values in (ramp(16).astype("i4") - 100, ramp(20).astype("i4")):
        with pytest.raises(ImageRejected) as caught:
            decode(tiff_of(values, 32, 2))
        assert caught.value.reason == "VALUE_RANGE"
    with pytest.raises(ImageRejected):
        decode(tiff_of((ramp(12).astype("i2") - 1024), 16, 2))


def test_an_almost_black_picture_is_said_and_left_as_it_is():
    mask = Image.fromarray((GRADIENT[..., 0] > 100).astype(np.uint8))
    found = decode(encoded(mask, format="PNG"))
    assert found.image.getextrema()[0] == (0, 1) and "almost black" in found.notes[0]
    assert not decode(encoded(picture(), format="PNG")).notes
