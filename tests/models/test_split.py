"""The written rule that divides photographs into pool and target."""

import hashlib
import io
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from models.nano.recipe import parts
from models.nano.recipe.split import divide

FILES = [bytes([value % 256, value // 256]) for value in range(400)]
LABELS = [value % 4 for value in range(400)]


def test_every_class_gives_the_same_number_of_photographs_to_the_target() -> None:
    pool, target = divide(FILES, LABELS, per_class=10)
    assert [sum(LABELS[row] == label for row in target) for label in range(4)] == [10] * 4
    assert [sum(LABELS[row] == label for row in pool) for label in range(4)] == [90] * 4


def test_pool_and_target_share_no_photograph() -> None:
    pool, target = divide(FILES, LABELS, per_class=10)
    assert not {FILES[row] for row in pool} & {FILES[row] for row in target}
    assert sorted(pool + target) == list(range(400))


def test_the_split_depends_on_bytes_and_not_on_the_order_of_rows() -> None:
    order = list(range(400))
    random.Random(1).shuffle(order)
    _, target = divide(FILES, LABELS, per_class=10)
    _, shuffled = divide([FILES[i] for i in order], [LABELS[i] for i in order], per_class=10)
    assert {FILES[row] for row in target} == {FILES[order[row]] for row in shuffled}


def test_the_target_holds_the_lowest_digests_of_each_class() -> None:
    _, target = divide(FILES, LABELS, per_class=10)
    digests = {row: hashlib.sha256(FILES[row]).hexdigest() for row in range(0, 400, 4)}
    assert sorted(digests, key=lambda row: digests[row])[:10] == sorted(
        (row for row in target if LABELS[row] == 0), key=lambda row: digests[row]
    )


def test_a_copy_of_a_target_photograph_never_gets_into_the_pool() -> None:
    pool, target = divide([b"same", b"same", b"same"], [0, 0, 0], per_class=1)
    assert (pool, len(target)) == ([], 1)


def test_the_parts_are_folders_of_classes_that_share_no_file(tmp_path: Path) -> None:
    for split, start in (("train", 0), ("test", 2000)):
        files = [_picture(number) for number in range(start, start + 1200)]
        labels = [number % 2 for number in range(1200)]
        images = [{"bytes": file, "path": ""} for file in files]
        names = ["cat" if label else "dog" for label in labels]
        table = pa.table({"image": images, "label": labels, "class_name": names})
        pq.write_table(table, tmp_path / f"{split}.parquet")
    counts = parts.write(tmp_path / "out", tmp_path)
    assert counts == {"target": 1000, "pool": 200, "test": 1200}
    found = {
        name: {one.name for one in (tmp_path / "out" / name).rglob("*.jpg")} for name in counts
    }
    assert not found["target"] & found["pool"]
    assert len(list((tmp_path / "out" / "target" / "cat").iterdir())) == 500


def _picture(number: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (32, 32), (number % 256, number // 256, 0)).save(file, "PNG")
    return file.getvalue()
