"""A data set of any number of JPEGs in a store, for the benchmarks of training.

`python -m benchmarks.training_images FOLDER COUNT SIDE` writes it and prints its URI.
"""

import hashlib
import io
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from servicekit.storage import DirectoryStore, ObjectStore, to_uri

CLASSES = 10
# Files: each stands for many images of the manifest, which nothing that is measured can tell.
_FILES, _TEST_IMAGES = 200, 10
_QUALITY = 90


def write_images(store: ObjectStore, count: int, side: int) -> str:
    """Writes a manifest of `count` training images and some test images; returns its URI."""
    draw = np.random.default_rng(0)
    for number in range(_FILES + _TEST_IMAGES):
        store.put(_key(number), _jpeg(draw, side))
    train = [_row("train", number, number % _FILES, side) for number in range(count)]
    test = [_row("test", number, _FILES + number, side) for number in range(_TEST_IMAGES)]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(train + test), buffer)
    store.put("datasets/benchmark/manifest.parquet", buffer.getvalue())
    return to_uri("datasets/benchmark/manifest.parquet")


def _jpeg(draw: np.random.Generator, side: int) -> bytes:
    """Noise at an eighth of the size, enlarged: as many bytes and edges as a photograph has."""
    noise = draw.integers(0, 256, (side // 8 + 1, side // 8 + 1, 3), np.uint8)
    image = Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def _row(split: str, number: int, file: int, side: int) -> dict[str, object]:
    name = f"{split}-{number}"
    return {
        "item_id": name,
        "image_uri": to_uri(_key(file)),
        "label": number % CLASSES,
        "class_name": f"class{number % CLASSES}",
        "split": split,
        "sha256": hashlib.sha256(name.encode()).hexdigest(),
        "width": side,
        "height": side,
    }


def _key(number: int) -> str:
    return f"images/{number}.jpg"


if __name__ == "__main__":
    folder, count, side = sys.argv[1:]
    print(write_images(DirectoryStore(Path(folder), durable=False), int(count), int(side)))
