"""Copies are found through the index exactly as by looking at every picture."""

import io

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from imaging.copies import CopyIndex, GrowingCopyIndex, find_by_scan
from imaging.fingerprint import fingerprint, thumbnail_of
from imaging.likeness import likeness
from imaging.likeness_bound import least_lengths, most_alike, templates


def picture(seed: int) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize((48, 48), Image.Resampling.BICUBIC)


def saved_again(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return Image.open(buffer).convert("RGB")


def test_the_index_gives_the_verdicts_of_a_scan():
    prints = [fingerprint(picture(seed)) for seed in range(400)]
    hashes = np.stack([one.hashes for one in prints])
    thumbnails = np.stack([one.thumbnail for one in prints])
    index = CopyIndex.build(hashes, thumbnails)
    changes = (
        saved_again,
        ImageOps.mirror,
        lambda image: image.resize((24, 24)),
        lambda image: image.crop((3, 3, 48, 48)),
        lambda image: image.rotate(90),
    )
    found = 0
    for seed in range(380, 420):  # the last twenty are strangers
        for change in changes:
            thumbnail = thumbnail_of(change(picture(seed)))
            for distance in (0, 4, 10, 32):
                row = index.find(thumbnail, distance)
                assert row == find_by_scan(thumbnail, hashes, thumbnails, distance)
                assert row in (None, seed)
                found += row is not None
    assert found > 200


def test_many_pictures_at_once_get_the_verdicts_of_one_by_one():
    prints = [fingerprint(picture(seed)) for seed in range(60)]
    thumbnails = np.stack([one.thumbnail for one in prints])
    index = CopyIndex.build(np.stack([one.hashes for one in prints]), thumbnails)
    asked = np.stack([thumbnail_of(saved_again(picture(seed))) for seed in range(40, 80)])
    found = index.find_all(asked)
    assert found == [index.find(one) for one in asked]
    assert found[:20] == list(range(40, 60)) and found[20:] == [None] * 20
    assert index.find_all(asked[:0]) == []


def test_a_growing_index_knows_what_was_added_so_far():
    index = GrowingCopyIndex()
    for seed in range(100):
        copy = thumbnail_of(ImageOps.mirror(picture(seed)))
        assert index.find(copy) is None
        assert index.add(thumbnail_of(picture(seed))) == seed
        assert index.find(copy) == seed


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), contrast=st.sampled_from([1.0, 0.1, 0.0]))
def test_no_picture_is_more_alike_than_the_bound_says(seed: int, contrast: float):
    changes = (saved_again, ImageOps.mirror, lambda image: image.crop((2, 1, 48, 45)))
    first, *others = (picture(seed + more) for more in range(3))
    known = [thumbnail_of(image) for image in (first, *(c(first) for c in changes), *others)]
    known = np.stack([(one * contrast + 20).astype(np.uint8) for one in known])
    candidates = np.stack([known[0], known[-1]])
    for candidate, template in zip(candidates, templates(candidates), strict=True):
        bounds = most_alike(template, known, least_lengths(known))
        found = np.array([likeness(candidate, one) for one in known])
        assert (found <= bounds + 1e-4).all()
