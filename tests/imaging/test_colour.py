"""Cameras' files: several pictures, colour profiles, and formats that are refused by name."""

import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from imaging.decode import ImageRejected, decode, decode_image
from tests.imaging.files import GRADIENT, encoded, picture


def matrix_profile(space: bytes, *columns: tuple[float, float, float], gamma: float) -> bytes:
    """A minimal ICC profile, version 2: primaries as XYZ at D50, one gamma."""

    def fixed(*values: float) -> bytes:
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    white = b"XYZ " + bytes(4) + fixed(0.9642, 1.0, 0.8249)
    text = b"desc" + bytes(4) + struct.pack(">I", 2) + b"x\0" + bytes(80)
    tags = [(b"desc", text), (b"wtpt", white)]
    if space == b"RGB ":
        tags += [
            (name, b"XYZ " + bytes(4) + fixed(*column))
            for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)
        ]
        tags += [(name, curve) for name in (b"rTRC", b"gTRC", b"bTRC")]
    else:
        tags += [(b"kTRC", curve)]
    at = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags:
        data += bytes(-len(data) % 4)
        table += name + struct.pack(">II", at + len(body), len(data))
        body += data
    head = struct.pack(">I4sI4s4s4s", at + len(body), bytes(4), 0x02400000, b"mntr", space, b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + fixed(0.9642, 1.0, 0.8249)
    return head.ljust(128, b"\0") + table + body


ADOBE = matrix_profile(
    b"RGB ",
    (0.60974, 0.31111, 0.01947),
    (0.20528, 0.62567, 0.06087),
    (0.14919, 0.06322, 0.74457),
    gamma=2.19921875,
)
P3 = matrix_profile(
    b"RGB ",
    (0.51512, 0.24120, -0.00105),
    (0.29198, 0.69225, 0.04189),
    (0.15710, 0.06657, 0.78407),
    gamma=2.2,
)
LINEAR_GREY = matrix_profile(b"GRAY", gamma=1.0)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "AVIF"])
@pytest.mark.parametrize("profile", [ADOBE, P3], ids=["adobe", "p3"])
def test_wide_colours_become_srgb(kind: str, profile: bytes):
    more = {"lossless": True} if kind == "WEBP" else {"quality": 100} if kind != "PNG" else {}
    image = Image.new("RGB", (32, 32), (120, 200, 100))
    red, green, _ = decode_image(encoded(image, format=kind, icc_profile=profile, **more)).getpixel(
        (9, 9)
    )
    assert green > 200 and red < 112  # the same green needs more of sRGB's
    assert decode_image(encoded(image, format=kind, **more)).getpixel((9, 9))[1] in range(197, 204)


def test_srgb_keeps_its_pixels_bit_for_bit():
    found = decode(encoded(picture(), format="PNG", icc_profile=SRGB))
    assert np.array_equal(np.asarray(found.image), GRADIENT) and not found.notes


def test_grey_and_transparent_pictures_are_converted_too():
    grey = Image.new("L", (8, 8), 55)
    assert decode_image(encoded(grey, format="PNG", icc_profile=LINEAR_GREY)).getpixel((0, 0))[
        0
    ] in (range(125, 133))
    clear = Image.new("RGBA", (8, 8), (120, 200, 100, 0))
    assert decode_image(encoded(clear, format="PNG", icc_profile=ADOBE)).getpixel((0, 0)) == (
        (255, 255, 255)
    )


@pytest.mark.parametrize("profile", [b"no profile", SRGB[:200], LINEAR_GREY])
def test_a_profile_that_cannot_be_used_is_said(profile: bytes):
    found = decode(encoded(picture(), format="PNG", icc_profile=profile))
    assert np.array_equal(np.asarray(found.image), GRADIENT)
    assert found.notes == ("colour profile cannot be used: read as sRGB",)


def test_lab_is_read():
    lab = ImageCms.profileToProfile(
        picture(), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    found = np.asarray(decode_image(encoded(lab, format="TIFF"))).astype(int)
    assert np.abs(found - GRADIENT).mean() < 4


def test_the_first_picture_of_a_camera_s_mpo_is_taken():
    data = encoded(picture(), format="MPO", save_all=True, append_images=[picture((32, 24))])
    found = decode(data, "DJI_0.JPG")
    assert (found.image.size, found.suffix) == ((64, 48), "jpg")


def test_avif_and_heic_are_read():
    for kind, suffix in (("AVIF", "avif"), ("HEIF", "heic")):
        found = decode(encoded(picture(), format=kind, quality=95))
        assert found.suffix == suffix
        assert np.abs(np.asarray(found.image).astype(int) - GRADIENT).mean() < 6


FOREIGN = {
    "JPEG XL": b"\xff\x0a" + bytes(40),
    "JPEG 2000": b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(40),
    "PSD": b"8BPS" + bytes(40),
    "ICO": b"\x00\x00\x01\x00" + bytes(40),
    "SVG": b"<?xml version='1.0'?><svg></svg>",
    "DICOM": bytes(128) + b"DICM" + bytes(20),
    "MP4": b"\x00\x00\x00\x18ftypisom" + bytes(40),
    "CR2": b"II*\x00\x10\x00\x00\x00CR" + bytes(40),
    "CR3": b"\x00\x00\x00\x18ftypcrx " + bytes(40),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_other_formats_are_refused_by_their_name(name: str):
    with pytest.raises(ImageRejected) as caught:
        decode(FOREIGN[name], "IMG_1.JPG")
    assert caught.value.reason == "UNSUPPORTED_FORMAT"
    assert f"IMG_1.JPG is {name}" in caught.value.message


def test_heic_without_its_package_is_refused_by_name_with_the_remedy(monkeypatch):
    monkeypatch.setattr("imaging.formats.HEIC_IS_READ", False)
    with pytest.raises(ImageRejected) as caught:
        decode(encoded(picture(), format="HEIF"), "IMG_1.HEIC")
    assert caught.value.reason == "UNSUPPORTED_FORMAT"
    assert (
        "IMG_1.HEIC is HEIC" in caught.value.message and "variegate[heic]" in caught.value.message
    )


def test_the_preview_of_a_camera_raw_is_not_taken_for_the_photograph():
    from PIL import TiffImagePlugin

    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[50706] = b"\x01\x04\x00\x00"
    tags.tagtype[50706] = 1
    with pytest.raises(ImageRejected) as caught:
        decode(encoded(picture(), format="TIFF", tiffinfo=tags), "IMG_1.DNG")
    assert "DNG" in caught.value.message
