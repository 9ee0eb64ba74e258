"""How well copies of protected photographs are found, and how rarely other photographs are accused.

Run it with `python -m benchmarks.duplicates`. Protected are the shipped test and target
photographs (1,500). Changed copies of some are planted among photographs of the shipped pool,
which are none of the protected ones. The ratio is the recall over all planted copies.
"""

import io
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from imaging.copies import DISTANCE
from imaging.decode import decode_image
from imaging.fingerprint import fingerprint, thumbnail_of
from imaging.hashing import pixel_sha256
from retriever.screening.duplicates import Copy, find_copies
from retriever.screening.fingerprints import Prints, ProtectedSet, write_set

DEMO = Path(__file__).parents[1] / "models" / "nano" / "demo"
PLANTED, OTHERS = 100, 2000
REQUIRED = 0.97

Change = Callable[[Image.Image, np.random.Generator], Image.Image]


def measure() -> dict[str, float]:
    """Returns recall (as `ratio`), precision and the share of other photographs accused.

    Precision is planted copies found over all that was found. These data hold some photographs
    twice, slightly changed, so what counts against precision here are hardly ever strangers.
    """
    protected = _protect([*_read("test"), *_read("target")])
    rng = np.random.default_rng(0)
    originals = rng.choice(len(protected.images), PLANTED, replace=False)
    found = {
        name: sum(_finds(change(protected.images[row], rng), protected, row) for row in originals)
        for name, change in CHANGES.items()
    }
    accused = sum(_copied(image, protected) is not None for image in _read("pool", OTHERS))
    planted = PLANTED * len(CHANGES)
    hits = sum(found.values())
    return {
        "ratio": hits / planted,
        "required": REQUIRED,
        "precision": hits / (hits + accused),
        "accused_share": accused / OTHERS,
        **{f"recall_{name}": count / PLANTED for name, count in found.items()},
    }


@dataclass(frozen=True)
class _Protected:
    """Images and their fingerprints, named by their row."""

    images: list[Image.Image]
    prints: ProtectedSet


def _protect(images: list[Image.Image]) -> _Protected:
    prints = [fingerprint(image) for image in images]
    parts = Prints(
        [one.pixel_sha256 for one in prints],
        np.stack([one.hashes for one in prints]),
        np.stack([one.thumbnail for one in prints]),
    )
    folder = Path(tempfile.mkdtemp(prefix="variegate-")) / "protected"
    write_set(folder, [str(row) for row in range(len(images))], ["test"] * len(images), [parts])
    known = ProtectedSet(folder)
    shutil.rmtree(folder.parent)  # What is mapped stays readable.
    return _Protected(images, known)


def _finds(image: Image.Image, protected: _Protected, row: int) -> bool:
    copy = _copied(image, protected)
    return copy is not None and copy.of.image_uri == str(row)


def _copied(image: Image.Image, protected: _Protected) -> Copy | None:
    thumbnails = thumbnail_of(image)[None]
    return find_copies([pixel_sha256(image)], thumbnails, protected.prints, DISTANCE)[0]


def _read(name: str, count: int | None = None) -> list[Image.Image]:
    column = pq.read_table(DEMO / f"{name}.parquet", columns=["image"])["image"]
    step = len(column) // count if count else 1  # the pool is sorted by class: take some of each
    rows: list[Any] = column.take(list(range(0, len(column), step))).to_pylist()
    return [decode_image(row["bytes"]) for row in rows]


def _crop(share: float) -> Change:
    def change(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        width, height = (round(side * (1 - share)) for side in image.size)
        left = int(rng.integers(0, image.width - width + 1))
        top = int(rng.integers(0, image.height - height + 1))
        part = image.crop((left, top, left + width, top + height))
        return part.resize(image.size, Image.Resampling.BICUBIC)

    return change


def _jpeg(quality: int) -> Change:
    def change(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        return decode_image(buffer.getvalue())

    return change


def _shift_colour(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    pixels = np.asarray(image, np.float64) * rng.uniform(0.8, 1.2, 3) + rng.uniform(-20, 20, 3)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _all(*changes: Change) -> Change:
    def change(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        for one in changes:
            image = one(image, rng)
        return image

    return change


CHANGES: dict[str, Change] = {
    "flip": lambda image, rng: ImageOps.mirror(image),
    "crop_1_16": _crop(1 / 16),
    "crop_1_8": _crop(1 / 8),
    "jpeg_50": _jpeg(50),
    "jpeg_25": _jpeg(25),
    "colour_shift": _shift_colour,
    "brighter": lambda image, rng: ImageEnhance.Brightness(image).enhance(1.3),
    "blur": lambda image, rng: image.filter(ImageFilter.GaussianBlur(1.0)),
    "larger": lambda image, rng: image.resize((96, 96), Image.Resampling.BICUBIC),
    "flip_crop_jpeg": _all(lambda i, rng: ImageOps.mirror(i), _crop(1 / 16), _jpeg(60)),
}


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
