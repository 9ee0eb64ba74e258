"""Small pictures and folders of them."""

import hashlib
import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def picture(name, size=(16, 16), form="PNG"):
    """The bytes of a noise picture that the name determines."""
    seed = int(hashlib.sha256(str(name).encode()).hexdigest()[:8], 16)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


def write_folder(root, classes=("cat", "dog"), count=3, tag="train"):
    """A folder per class with `count` pictures each."""
    for name in classes:
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (root / name / f"{number}.png").write_bytes(picture((tag, name, number)))
    return root


def write_pool(path, classes=("cat", "dog"), count=20):
    """A pool with classes and captions."""
    rows = [
        {
            "image": {"bytes": picture(("pool", name, number)), "path": f"{name}/{number}.png"},
            "label": label,
            "class_name": name,
            "caption": f"a photo of a {name}",
        }
        for label, name in enumerate(classes)
        for number in range(count)
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path
