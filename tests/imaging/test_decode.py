import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from imaging.decode import ImageRejected, Limits, decode_image
from imaging.encode import encode_png
from imaging.hashing import hamming, perceptual_hash, pixel_sha256

GRADIENT = np.dstack(np.broadcast_arrays(*np.ogrid[0:240:48j, 0:240:64j], 90)).astype(np.uint8)


def encoded(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, **options)
    return buffer.getvalue()


def picture():
    return Image.fromarray(GRADIENT)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP"])
def test_lossless_formats_decode_to_the_same_pixels(kind):
    data = encoded(picture(), format=kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert np.array_equal(np.asarray(decode_image(data)), GRADIENT)


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "RGBA", "LA", "1", "YCbCr"])
def test_every_mode_becomes_rgb(mode):
    image = picture().convert(mode)
    data = encoded(image, format="TIFF" if mode in ("CMYK", "YCbCr") else "PNG")
    found = decode_image(data)
    assert (found.mode, found.size) == ("RGB", (64, 48))
    if mode in ("CMYK", "RGBA"):
        assert np.abs(np.asarray(found).astype(int) - GRADIENT).max() <= 2


def test_sixteen_bit_grey_is_scaled_and_not_clipped():
    values = np.linspace(0, 65535, 64 * 48).reshape(48, 64).astype(np.uint16)
    found = np.asarray(decode_image(encoded(Image.fromarray(values), format="PNG")))
    assert np.array_equal(found[..., 0], (values >> 8).astype(np.uint8))


def test_exif_rotation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(picture(), format="PNG", exif=exif)
    assert np.array_equal(np.asarray(decode_image(data)), np.rot90(GRADIENT, -1))


def test_the_first_frame_of_an_animation_is_taken():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], format="GIF", save_all=True, append_images=frames[1:])
    assert decode_image(data).getpixel((0, 0)) == (255, 0, 0)


def test_transparency_is_laid_on_white():
    data = encoded(Image.new("RGBA", (4, 4), (255, 0, 0, 0)), format="PNG")
    assert decode_image(data).getpixel((0, 0)) == (255, 255, 255)


def rejected(data, **options):
    with pytest.raises(ImageRejected) as caught:
        decode_image(data, "cat.png", **options)
    assert "cat.png" in caught.value.message
    return caught.value.reason


def test_what_is_not_an_image_is_named_with_its_reason():
    png = encoded(picture(), format="PNG")
    assert rejected(b"") == "EMPTY"
    assert rejected(b"%PDF-1.4 hello") == "NOT_AN_IMAGE"
    assert rejected(png[: len(png) // 2]) == "TRUNCATED"
    assert rejected(encoded(picture(), format="JPEG")[:400]) in ("TRUNCATED", "NOT_AN_IMAGE")
    assert rejected(png, limits=Limits(max_bytes=10)) == "TOO_MANY_BYTES"
    assert rejected(encoded(picture(), format="ICNS")) == "UNSUPPORTED_FORMAT"


def test_a_hundred_megapixels_are_refused_before_they_are_decoded():
    data = encoded(Image.new("1", (10_000, 10_000)), format="PNG")
    assert rejected(data) == "TOO_MANY_PIXELS"


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_rejection(data):
    try:
        decode_image(b"\x89PNG\r\n\x1a\n" + data)
    except ImageRejected as error:
        assert error.reason


def test_equal_pixels_have_equal_bytes_and_fingerprints():
    again = decode_image(encode_png(GRADIENT))
    assert encode_png(again) == encode_png(picture())
    assert pixel_sha256(again) == pixel_sha256(picture())


def test_a_perceptual_hash_survives_jpeg_and_tells_other_pictures_apart():
    def blobs(seed):
        coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3)).astype(np.uint8)
        return Image.fromarray(coarse).resize((64, 48), Image.Resampling.BICUBIC)

    copy = decode_image(encoded(blobs(0), format="JPEG", quality=60))
    assert hamming(perceptual_hash(blobs(0)), perceptual_hash(copy)) <= 4
    assert hamming(perceptual_hash(blobs(0)), perceptual_hash(blobs(1))) > 12
