"""Copies are found through the index exactly as by looking at every picture."""

import io

import numpy as np
from PIL import Image, ImageOps

from imaging.copies import CopyIndex, find_by_scan
from imaging.fingerprint import fingerprint, thumbnail_of


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
    index = CopyIndex.build(hashes, lambda row: thumbnails[row])
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
