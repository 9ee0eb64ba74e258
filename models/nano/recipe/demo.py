"""The demo's photographs: small parts of target, test and pool, in the original JPEG bytes."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from models.nano.recipe import captions
from models.nano.recipe.photos import Photos, read
from models.nano.recipe.split import divide

TARGET, TEST, POOL = 50, 100, 1000  # photographs per class


def write(folder: Path, photos_folder: Path) -> None:
    """Writes `target.parquet`, `test.parquet` and `pool.parquet` (with captions) into `folder`.

    No file's bytes appear in two of them: a test photograph that is also in the training set is
    left out of the demo's test.
    """
    train, test = read(photos_folder, "train"), read(photos_folder, "test")
    pool_rows, target_rows = divide(train.files, train.labels.tolist())
    known = set(train.files)
    fresh = [row for row, file in enumerate(test.files) if file not in known]
    folder.mkdir(parents=True, exist_ok=True)
    _write(first(train.subset(target_rows), TARGET), folder / "target.parquet", "target")
    _write(first(test.subset(fresh), TEST), folder / "test.parquet", "test")
    pool = first(train.subset(pool_rows), POOL)
    facts = captions.facts_of(pool.labels, captions.look(pool.images))
    texts = [captions.caption(fact, pool.names) for fact in facts]
    _write(pool, folder / "pool.parquet", "pool", texts)


def first(photos: Photos, per_class: int) -> Photos:
    """The first `per_class` different photographs of each class."""
    left = dict.fromkeys(range(len(photos.names)), per_class)
    rows: list[int] = []
    seen: set[bytes] = set()
    for row, (label, file) in enumerate(zip(photos.labels.tolist(), photos.files, strict=True)):
        if left[label] and file not in seen:
            left[label] -= 1
            seen.add(file)
            rows.append(row)
    return photos.subset(rows)


def _write(photos: Photos, path: Path, part: str, texts: list[str] | None = None) -> None:
    labels = photos.labels.tolist()
    names = [photos.names[label] for label in labels]
    images = [
        {"bytes": file, "path": f"{part}/{name}/{row:05d}.jpg"}
        for row, (file, name) in enumerate(zip(photos.files, names, strict=True))
    ]
    columns = {
        "image": pa.array(images, pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        "label": pa.array(labels, pa.int64()),
        "class_name": pa.array(names, pa.string()),
    }
    if texts is not None:
        columns["caption"] = pa.array(texts, pa.string())
    pq.write_table(pa.table(columns), path, compression="zstd", compression_level=19)
