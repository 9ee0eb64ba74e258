"""Writes the whole split as folders: `python -m models.nano.recipe.parts --photos DIR --out DIR`.

Studies of these photographs use them: `target` is what a user owns, `test` is tested on, and `pool`
is what the small models have learned from and what is retrieved from.
"""

import argparse
import hashlib
import sys
from pathlib import Path

from models.nano.recipe.photos import Photos, PhotosMissing, read
from models.nano.recipe.split import divide


def write(out: Path, photos_folder: Path) -> dict[str, int]:
    """Writes OUT/PART/CLASS/DIGEST.jpg in the original bytes, and returns each part's images.

    Of equal files of a class one is written. Raises PhotosMissing.
    """
    train, test = read(photos_folder, "train"), read(photos_folder, "test")
    pool_rows, target_rows = divide(train.files, train.labels.tolist())
    parts = {"target": train.subset(target_rows), "pool": train.subset(pool_rows), "test": test}
    return {name: _write(photos, out / name) for name, photos in parts.items()}


def _write(photos: Photos, folder: Path) -> int:
    written = set()
    for file, label in zip(photos.files, photos.labels.tolist(), strict=True):
        path = folder / photos.names[label] / f"{hashlib.sha256(file).hexdigest()[:16]}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file)
        written.add(path)
    return len(written)


def main() -> int:
    """Returns 0, or 2 if there are no photographs in the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="train.parquet, test.parquet")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    options = parser.parse_args()
    try:
        counts = write(options.out, options.photos)
    except PhotosMissing as error:
        print(error, file=sys.stderr)
        return 2
    print(", ".join(f"{name}: {count} photographs" for name, count in counts.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
