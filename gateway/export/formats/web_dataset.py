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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from gateway.export.annotations import for_json
from gateway.export.base import Row, parallel, suffix_of, write_file
from servicekit.storage import ObjectStore, to_key

SHARD_IMAGES = 1000


class WebDataset:
    """Shards of 1,000 images in the manifest's order; the same manifest gives the same bytes."""

    id = "webdataset"

    def layout(self, tables: Iterable[pa.Table]) -> "Shards":
        suffixes: Counter[str] = Counter()
        for table in tables:
            uris = map(str, table.column("image_uri").to_pylist())
            suffixes.update(map(suffix_of, uris))
        return Shards(max(sorted(suffixes), key=suffixes.__getitem__, default=".png"))


@dataclass(frozen=True)
class Shards:
    """Shards whose images all have one suffix."""

    suffix: str
    description: str = ""  # Everything is in the shards.

    def columns(self, first: int, rows: Sequence[Row]) -> dict[str, list[Any]]:
        return {
            "file_name": [
                f"{number // SHARD_IMAGES:06d}.tar/{row['item_id']}{self.suffix}"
                for number, row in enumerate(rows, first)
            ]
        }

    def write(
        self, store: ObjectStore, rows: Iterable[Row], out: Path, *, overwrite: bool
    ) -> Iterator[bool]:
        left, number = iter(rows), 0
        while part := list(islice(left, SHARD_IMAGES)):
            path = out / f"{number:06d}.tar"
            # A shard has its name only once it is whole.
            fresh = overwrite or not path.is_file()
            if fresh:
                write_file(path, _shard(store, part))
            yield from [fresh] * len(part)
            number += 1

    def described(self, manifest: pa.Table) -> pa.Table:
        return manifest


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
