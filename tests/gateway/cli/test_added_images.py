"""Folders of images that `train` adds: which are used, moved or left out, and which refused."""

import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.gateway.cli.trained import trained_on


def test_all_synthetic_folders_are_used_and_their_copies_counted(train, gateway, tmp_path):
    shutil.copytree(tmp_path / "new", tmp_path / "second")
    table = pq.read_table(tmp_path / "second" / "manifest.parquet")
    for number in (0, 1):
        (tmp_path / "new" / table.column("file_name")[number].as_py()).unlink()
    answer = train("--synthetic", "new", "--synthetic", "second/manifest.parquet", "--json")
    assert answer.code == 0, answer.err
    kept = [(s["place"], s["used_count"], s["copy_count"], s["missing_count"])
            for s in answer.document["synthetic"]]  # fmt: skip
    assert kept == [("new", 2, 0, 2), ("second/manifest.parquet", 2, 2, 0)]
    assert len(trained_on(gateway, tmp_path)) == 4
    plain = train("--synthetic", "new", "--synthetic", "second")
    assert "new: 2 images added, 2 of its manifest are no longer there" in plain.out
    assert "second: 2 images added, 2 copies of others left out" in plain.out


def rewrite(folder, **columns):
    path = folder / "manifest.parquet"
    table = pq.read_table(path)
    for name, values in columns.items():
        kind = table.schema.field(name).type
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, pa.array(values, kind))
    pq.write_table(table, path)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"class_name": ["zebra"] * 4}, "classes that the training images lack: zebra"),
        ({"parents": [["p"], ["elsewhere"], ["p"], ["p"]]}, "1 of its 4 images have parents"),
    ],
)
def test_images_of_another_dataset_are_refused_before_anything_is_trained(
    train, gateway, tmp_path, columns, said
):
    rewrite(tmp_path / "new", **columns)
    before = len(gateway.requests)
    answer = train("--synthetic", "new")
    assert answer.code == 3
    assert said in answer.err
    assert len(gateway.requests) == before + 1, "only the import"


def test_an_image_with_two_classes_is_refused(train, tmp_path):
    shutil.copytree(tmp_path / "new", tmp_path / "second")
    rewrite(tmp_path / "second", class_name=["dog [x]"] * 4)
    answer = train("--synthetic", "new", "--synthetic", "second")
    assert answer.code == 3
    assert "is 'dog [x]' there and 'cat' in new" in answer.err


def test_real_alone_with_added_images_is_refused_before_anything_is_trained(train):
    answer = train("--synthetic", "new", "--strategy", "real")
    assert answer.code == 2
    assert "uses no added images" in answer.err


def test_an_image_moved_to_another_class_folder_takes_that_class(train, gateway, tmp_path):
    new = tmp_path / "new"
    table = pq.read_table(new / "manifest.parquet")
    files, names = (table.column(name).to_pylist() for name in ("file_name", "class_name"))
    cats = [file for file, name in zip(files, names, strict=True) if name == "cat"]
    [dogs] = {file.partition("/")[0] for file in files if file not in cats}
    (new / cats[0]).rename(new / dogs / "corrected.png")
    (new / "trash").mkdir()
    (new / cats[1]).rename(new / "trash" / "bad.png")
    Image.new("RGB", (8, 8), "red").save(new / dogs / "mine.png")
    answer = train("--synthetic", "new", "--json")
    assert answer.code == 0, answer.err
    [source] = answer.document["synthetic"]
    assert (source["used_count"], source["moved_count"]) == (3, 1)
    assert (source["unfiled_count"], source["added_count"]) == (1, 1)
    used = trained_on(gateway, tmp_path)
    assert {(row["class_name"], row["label"]) for row in used} == {("dog [x]", 1)}
    for text in (answer.err, train("--synthetic", "new").out):
        flat = " ".join(text.split())
        assert "1 moved by hand take the class of their new folder" in flat
        assert "1 that were moved to no class's folder left out" in flat
        assert "1 that its manifest does not name left out" in flat


def test_an_image_in_two_class_folders_is_refused(train, tmp_path):
    new = tmp_path / "new"
    files = pq.read_table(new / "manifest.parquet").column("file_name").to_pylist()
    folder = next(file for file in files if file.partition("/")[0] != files[0].partition("/")[0])
    shutil.copy(new / files[0], (new / folder).parent / "also.png")
    answer = train("--synthetic", "new")
    assert answer.code == 3
    assert "lies in the folders of two classes" in answer.err
