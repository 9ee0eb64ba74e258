"""Outputs of `augment` as they lie in a folder, made without it."""

import hashlib
import io
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def write_output(
    folder,
    counts,
    *,
    first=0,
    ids_from=None,
    parent_files=None,
    lineage="{}",
    is_sharded=False,
    is_empty=False,
):
    """A folder with a manifest and images, `counts` of each class; `is_empty` leaves out images.

    Images are of other colours for another `first`, and have ids of their own, unless `ids_from`
    says otherwise. The last image of a class has no CLIP score.
    """
    rows, number = [], first
    shift = 0 if ids_from is None else ids_from - first
    for label, (name, count) in enumerate(counts.items()):
        for index in range(count):
            data = b"" if is_empty else _png((number % 256, 50 * label, number // 256))
            place = f"{'000000.tar' if is_sharded else name}/item{number + shift}.png"
            digest = hashlib.sha256(data or str(number).encode()).hexdigest()
            rows.append(
                {
                    "item_id": f"item{number + shift}",
                    "sha256": digest,
                    "class_name": name,
                    "label": label,
                    "file_name": place,
                    "seed": 2**64 - 1 - number,
                    "method": "mvc",
                    "source": "generated",
                    "image_uri": f"store:images/{digest}.png",
                    "clip_score": -2.0 if index == count - 1 else 0.9 - 0.7 * index / count,
                    "unsafe_score": round(0.1 * (index % 10), 1),
                    "parents": [f"p{n}" for n in range(len((parent_files or [[""]])[0]))],
                    "parent_files": (parent_files or [["a.png"]])[0],
                    "lineage": lineage,
                }
            )
            if not is_empty:
                _put(folder, place, data)
            number += 1
    folder.mkdir(parents=True, exist_ok=True)
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    columns["seed"] = pa.array(columns["seed"], pa.uint64())
    pq.write_table(pa.table(columns), folder / "manifest.parquet")
    return folder


def _png(colour):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, "PNG")
    return buffer.getvalue()


def _put(folder, place, data):
    path = folder / place
    if path.parent.suffix == ".tar":
        folder.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path.parent, "a") as tar:
            member = tarfile.TarInfo(path.name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
