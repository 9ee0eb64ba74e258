"""WebDataset shards: OUT/000000.tar with ITEM_ID.png, .cls (the label), .txt (the prompt) and .json
(the manifest's row) for each image, as `webdataset` and Hugging Face's `datasets` read it.

`datasets` takes only shards whose samples all have the same suffixes, and gives a column of the
.json one type. So all images have one suffix, that of most of them (readers go by the content), and
the lineage, whose form differs between images, is text.
"""

import io
import json
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from gateway.export.annotations import for_json
from gateway.export.base import Row, image_suffix, parallel, write_file
from servicekit.storage import ObjectStore, to_key

SHARD_IMAGES = 1000


class WebDataset:
    """Shards of 1,000 images in the manifest's order; the same manifest gives the same bytes."""

    id = "webdataset"

    def columns(self, rows: Sequence[Row]) -> dict[str, list[Any]]:
        suffixes = Counter(map(image_suffix, rows))
        suffix = max(sorted(suffixes), key=suffixes.__getitem__, default=".png")
        return {
            "file_name": [
                f"{number // SHARD_IMAGES:06d}.tar/{row['item_id']}{suffix}"
                for number, row in enumerate(rows)
            ]
        }

    def write(
        self, store: ObjectStore, rows: Sequence[Row], out: Path, *, overwrite: bool
    ) -> Iterator[bool]:
        for start in range(0, len(rows), SHARD_IMAGES):
            part = rows[start : start + SHARD_IMAGES]
            path = out / f"{start // SHARD_IMAGES:06d}.tar"
            # A shard has its name only once it is whole.
            fresh = overwrite or not path.is_file()
            if fresh:
                write_file(path, _shard(store, part))
            yield from [fresh] * len(part)

    def describe(self, manifest: pa.Table, out: Path) -> None:
        """Everything is in the shards."""


def _shard(store: ObjectStore, rows: Sequence[Row]) -> bytes:
    buffer = io.BytesIO()
    images = parallel(lambda row: store.get(to_key(row["image_uri"])), rows)
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for row, image in zip(rows, images, strict=True):
            parts = {
                PurePosixPath(row["file_name"]).suffix: image,
                ".cls": str(row["label"]).encode(),
                ".txt": str(row.get("prompt") or "").encode(),
                ".json": json.dumps(for_json(row), sort_keys=True, default=str).encode(),
            }
            for suffix, data in parts.items():
                member = tarfile.TarInfo(f"{row['item_id']}{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


FORMAT = WebDataset()
