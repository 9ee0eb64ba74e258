"""Fingerprints and the comparison of pictures, without a server."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter, ImageOps

from imaging.decode import decode_image
from imaging.fingerprint import (
    both_hashes,
    crop_hashes,
    fingerprint,
    resampling,
    thumbnail_of,
)
from imaging.hashing import perceptual_hash
from imaging.likeness import SAME, likeness
from imaging.likeness_bound import least_lengths, most_alike, templates


def noise(seed: int, size: tuple[int, int] = (48, 40)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1] // 8, size[0] // 8, 3))
    return Image.fromarray(pixels.astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)


def test_the_first_hash_is_that_of_the_whole(photographs: list[bytes]):
    for data in photographs[:50]:
        image = decode_image(data)
        whole, _ = both_hashes(thumbnail_of(image)[None])[0]
        assert fingerprint(image).hashes[0] == whole
        # Its bits are those of the perceptual hash, in another order.
        assert int(whole).bit_count() == perceptual_hash(image).bit_count()


def test_the_second_hash_is_that_of_the_mirror_image(photographs: list[bytes]):
    images = [decode_image(data) for data in photographs[:20]]
    mirrored = [ImageOps.mirror(image) for image in images]
    pair, turned = (
        both_hashes(np.stack([thumbnail_of(image) for image in some]))
        for some in (images, mirrored)
    )
    np.testing.assert_array_equal(pair, turned[:, ::-1])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_a_picture_is_like_itself_its_mirror_image_and_its_negative_is_not(seed: int):
    thumbnail = thumbnail_of(noise(seed))
    assert likeness(thumbnail, thumbnail) == pytest.approx(1.0, abs=1e-3)
    assert likeness(np.ascontiguousarray(thumbnail[:, ::-1]), thumbnail) > 0.999
    assert likeness(255 - thumbnail, thumbnail) < SAME


@settings(max_examples=30, deadline=None)
@given(first=st.integers(0, 10**6), second=st.integers(0, 10**6))
def test_different_pictures_are_not_alike(first: int, second: int):
    if first != second:
        assert likeness(thumbnail_of(noise(first)), thumbnail_of(noise(second))) < SAME


def test_flat_pictures_are_not_copies_of_pictures(photographs: list[bytes]):
    flat = thumbnail_of(Image.new("RGB", (32, 32), "grey"))
    photograph = thumbnail_of(decode_image(photographs[0]))
    assert abs(likeness(flat, photograph)) < SAME
    assert crop_hashes(flat).shape == (19,)


def test_blur_and_colour_leave_a_picture_alike(photographs: list[bytes]):
    for data in photographs[:20]:
        image = decode_image(data)
        changed = image.filter(ImageFilter.GaussianBlur(0.7)).point(lambda v: int(v * 0.8 + 20))
        assert likeness(thumbnail_of(changed), thumbnail_of(image)) > SAME


def test_stretching_the_whole_changes_nothing():
    np.testing.assert_array_equal(resampling(0, 32), np.eye(32))


def test_the_bound_tells_strangers_apart_by_itself(photographs: list[bytes]):
    thumbnails = np.stack([thumbnail_of(decode_image(data)) for data in photographs[:60]])
    lengths = least_lengths(thumbnails)
    bounds = np.stack([most_alike(one, thumbnails, lengths) for one in templates(thumbnails)])
    strangers = bounds[~np.eye(len(bounds), dtype=bool)]
    assert (strangers < 0.8).mean() > 0.99
