"""Archives of class folders, imported as folders are; packed files, refused by what they are."""

import gzip
import io
import tarfile
import zipfile

import pytest

from datafiles.places.archive_place import entered
from datafiles.places.place import locate
from gateway.api.resources import DatasetSource
from servicekit.errors import InvalidArgument
from servicekit.storage import MemoryStore
from tests.gateway.importing import reasons, take
from tests.gateway.pictures import picture, write_folder
from tests.gateway.test_shards import samples, shard
from tests.gateway.test_splits import arranged


def packed(path, folder, prefix="."):
    """An archive of what is in a folder, as `tar -C FOLDER -cf PATH .` makes it."""
    with tarfile.open(path, "w") as tar:
        tar.add(folder, prefix)
    return path


def classes_of(dataset):
    return [(one.class_name, one.train_count, one.test_count) for one in dataset.classes]


@pytest.mark.parametrize("prefix", [".", "photos", "/data/photos", "a/./b"])
def test_an_archive_of_class_folders_is_read_as_the_folder_is(tmp_path, prefix):
    folder = write_folder(tmp_path / "set")
    (folder / "cat" / "notes.txt").write_text("a caption")
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "x.png").write_bytes(picture("x"))
    expected, _, _ = arranged(folder, root=tmp_path)
    archive = packed(tmp_path / "PETS.TAR", folder, prefix)
    dataset, items, store = arranged(archive, root=tmp_path)
    assert dataset.digest == expected.digest
    assert {item.source.rpartition("/")[0] for item in items} == {"cat", "dog"}
    assert reasons(dataset) == {"cat/notes.txt": "NOT_AN_IMAGE"}
    store.put("sets/pets.tar", archive.read_bytes())
    assert arranged("store:sets/pets.tar", root="/no", store=store)[0].digest == expected.digest


def test_splits_in_an_archive_are_found_as_on_disk(tmp_path):
    for split in ("train", "test"):
        write_folder(tmp_path / "set" / split, tag=split)
    archive = packed(tmp_path / "pets.tar", tmp_path / "set", "pets")
    dataset, items, _ = arranged(archive, root=tmp_path)
    assert classes_of(dataset) == [("cat", 3, 3), ("dog", 3, 3)]
    assert len(items) == 12
    assert any("'train' is used for training" in one for one in dataset.warnings)


def test_an_archive_of_images_beside_a_table_has_the_classes_that_it_says(tmp_path):
    write_folder(tmp_path / "set" / "images", classes=("",), count=2)
    rows = "file_name,label\nimages/0.png,cat\nimages/1.png,dog\n"
    (tmp_path / "set" / "metadata.csv").write_text(rows)
    dataset, _, _ = arranged(packed(tmp_path / "pets.tar", tmp_path / "set"), root=tmp_path)
    assert classes_of(dataset) == [("cat", 1, 0), ("dog", 1, 0)]


def test_training_and_test_images_may_be_an_archive_each_but_not_the_same(tmp_path):
    train = packed(tmp_path / "a.tar", write_folder(tmp_path / "a"))
    test = packed(tmp_path / "b.tar", write_folder(tmp_path / "b", tag="test"))
    dataset, _, _ = arranged(train, test, root=tmp_path)
    assert classes_of(dataset) == [("cat", 3, 3), ("dog", 3, 3)]
    with pytest.raises(InvalidArgument) as caught:
        arranged(train, train, root=tmp_path)
    assert caught.value.reason == "SAME_PLACE"


def test_an_archive_with_labels_is_a_shard_whatever_its_folders_are(tmp_path):
    files = [(f"part/{name}", data) for name, data in samples(0, 4)]
    (tmp_path / "a.tar").write_bytes(shard(files))
    dataset, _, _ = arranged(tmp_path / "a.tar", root=tmp_path)
    assert classes_of(dataset) == [("cat", 2, 0), ("dog", 2, 0)]


def test_what_an_archive_holds_besides_files_is_listed_and_not_lost(tmp_path):
    folder = write_folder(tmp_path / "set")
    (folder / "cat" / "link.png").symlink_to("0.png")
    (folder / "dog" / "twin.png").hardlink_to(folder / "dog" / "0.png")
    for archive in (packed(tmp_path / "pets.tar", folder),):
        dataset, _, _ = arranged(archive, root=tmp_path)
        assert classes_of(dataset) == [("cat", 3, 0), ("dog", 3, 0)]
        assert list(reasons(dataset).values()) == ["NOT_A_FILE", "NOT_A_FILE"]
        assert "is a link to 0.png" in dataset.rejected_files[0].message


def test_a_damaged_archive_of_class_folders_is_used_up_to_the_damage_and_listed(tmp_path):
    archive = packed(tmp_path / "pets.tar", write_folder(tmp_path / "set"))
    archive.write_bytes(archive.read_bytes()[:-11_000])
    dataset, _, _ = arranged(archive, root=tmp_path)
    assert reasons(dataset)["pets.tar"] == "BAD_SHARD"
    assert sum(count for _, count, _ in classes_of(dataset)) >= 4


def test_of_a_file_that_was_packed_twice_the_last_counts(tmp_path):
    old, new = picture("old"), picture("new")
    (tmp_path / "a.tar").write_bytes(shard([("cat/1.png", old), ("cat/1.png", new)]))
    place = locate(f"file://{tmp_path}/a.tar", store=MemoryStore(), roots=("/",), field="x")
    inside = entered(place)
    assert list(inside.files()) == ["cat/1.png"]
    assert inside.read("cat/1.png") == new
    assert inside.read_part("cat/1.png", 1, 3) == new[1:4]
    assert inside.below("cat").open("1.png").read() == new


def test_class_folders_in_shards_without_labels_are_refused_with_what_to_do(tmp_path):
    folder = write_folder(tmp_path / "set")
    for name in ("a", "b"):
        (tmp_path / "shards").mkdir(exist_ok=True)
        packed(tmp_path / "shards" / f"{name}.tar", folder, "x")
    with pytest.raises(InvalidArgument, match="if its folder is the class, unpack the archive"):
        arranged(tmp_path / "shards", root=tmp_path)


def zip_of(*names):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, picture(name))
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["pets.zip", "pets.tar", "pets.parquet", "pets.png"])
@pytest.mark.parametrize("given", ["train", "test"])
def test_packed_files_are_refused_by_content_with_how_to_unpack_them(tmp_path, name, given):
    (tmp_path / name).write_bytes(zip_of("cat/1.png"))
    good = write_folder(tmp_path / "set")
    places = (tmp_path / name, None) if given == "train" else (good, tmp_path / name)
    with pytest.raises(InvalidArgument, match=r"is a zip archive.*unzip pets") as caught:
        arranged(*places, root=tmp_path)
    assert caught.value.reason == "PACKED"
    assert caught.value.field == f"source.{given}_uri"


def test_a_compressed_shard_among_others_is_listed_with_how_to_unpack_it(tmp_path):
    (tmp_path / "a.tar").write_bytes(shard(samples(0, 4)))
    (tmp_path / "b.tar").write_bytes(gzip.compress(shard(samples(4, 4))))
    dataset, _, _ = take(tmp_path, root=tmp_path)
    assert reasons(dataset) == {"b.tar": "BAD_SHARD"}
    assert "is a tar compressed by gzip" in dataset.rejected_files[0].message


def test_a_packed_file_in_the_object_store_is_refused_too():
    store = MemoryStore()
    store.put("sets/pets.zip", zip_of("cat/1.png"))
    with pytest.raises(InvalidArgument, match="is a zip archive"):
        take("store:sets/pets.zip", root="/nowhere", store=store)
    assert DatasetSource("store:sets/pets.zip").train_uri
