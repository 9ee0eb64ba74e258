"""An augmentation and its dataset in a store, as the gateway writes them."""

import hashlib
import io

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from servicekit.storage import to_uri


def put_augmentation(store, classes=("cat", "dog [x]")):
    """Four made images and their manifest, as the gateway writes it."""
    rows = []
    for number in range(4):
        buffer = io.BytesIO()
        Image.new("RGB", (8, 8), (number, 9, 9)).save(buffer, "PNG")
        digest = hashlib.sha256(buffer.getvalue()).hexdigest()
        key = f"images/{digest[:2]}/{digest}.png"
        store.put(key, buffer.getvalue())
        rows.append(
            {
                "item_id": f"item{number}",
                "image_uri": to_uri(key),
                "sha256": digest,
                "label": number % 2,
                "class_name": classes[number % 2],
                "method": "mvc",
                "source": "generated",
                "parents": ["p"],
                "prompt": "a cat",
                "seed": number,
                "model": "pix2pix",
                "model_digest": "00",
                "steps": 4,
                "guidance_scale": 2.0,
                "clip_score": 0.3,
                "unsafe_score": 0.0,
                "attempt": 0,
                "lineage": "{}",
            }
        )
    schema = pa.Table.from_pylist(rows).schema
    for name, kind in (
        ("label", pa.int32()),
        ("seed", pa.uint64()),
        ("steps", pa.int32()),
        ("attempt", pa.int32()),
        ("guidance_scale", pa.float32()),
        ("clip_score", pa.float32()),
        ("unsafe_score", pa.float32()),
    ):
        schema = schema.set(schema.get_field_index(name), pa.field(name, kind))
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema), buffer)
    store.put("made/manifest.parquet", buffer.getvalue())
    return to_uri("made/manifest.parquet")


def put_dataset(store):
    """The manifest of the dataset that the images were made from: two parents."""
    rows = [
        {"item_id": item, "source": f"{name}/1.png", "label": label, "class_name": name,
         "split": "train"}
        for label, (item, name) in enumerate((("p", "cat"), ("q", "dog [x]")))
    ]  # fmt: skip
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    store.put("dataset/manifest.parquet", buffer.getvalue())
    return to_uri("dataset/manifest.parquet")
