"""Folders as people have them, imported: which images train, which test, and what is said of it."""

import unicodedata

import pytest

from servicekit.errors import InvalidArgument
from servicekit.storage import MemoryStore
from tests.gateway.importing import reasons, take
from tests.gateway.pictures import picture, write_folder


def arranged(train, test=None, **options):
    return take(train, test, finds_layout=True, **options)


def sources(items, split):
    return sorted(item.source for item in items if item.split == split)


@pytest.mark.parametrize("test", ["test", "Testing", "val", "valid", "Validation"])
def test_split_folders_are_used_as_what_they_are_called_and_that_is_said(tmp_path, test):
    write_folder(tmp_path / "Train", count=3)
    write_folder(tmp_path / test, count=2, tag="test")
    dataset, items, _ = arranged(tmp_path, root=tmp_path)
    counts = [(one.class_name, one.train_count, one.test_count) for one in dataset.classes]
    assert counts == [("cat", 3, 2), ("dog", 3, 2)]
    assert "cat/0.png" in sources(items, "train") and not dataset.rejected_files
    [note] = [one for one in dataset.warnings if "splits" in one]
    assert "'Train' is used for training" in note and f"{test!r} is used to test with" in note


def test_validation_images_beside_test_images_are_not_used_at_all(tmp_path):
    for split in ("train", "val", "test"):
        write_folder(tmp_path / "set" / split, count=1, tag=split)
    dataset, items, _ = arranged(tmp_path, root=tmp_path)
    assert len(items) == 4
    assert any("'val' not used" in one for one in dataset.warnings)


@pytest.mark.parametrize("train", ["", "train"])
def test_a_test_folder_inside_the_given_folder_is_no_part_of_the_training_images(tmp_path, train):
    write_folder(tmp_path / train, count=3)
    write_folder(tmp_path / "test", count=2, tag="test")
    for finds_layout in (True, False):
        if train and not finds_layout:
            continue
        dataset, items, _ = take(
            tmp_path, tmp_path / "test", root=tmp_path, finds_layout=finds_layout
        )
        assert [one.class_name for one in dataset.classes] == ["cat", "dog"]
        assert (len(sources(items, "train")), len(sources(items, "test"))) == (6, 4)
        assert any("test is a part of its own" in one for one in dataset.warnings)


def test_an_outer_folder_is_no_class(tmp_path):
    write_folder(tmp_path / "a" / "photos")
    dataset, _, _ = arranged(tmp_path, root=tmp_path)
    assert [one.class_name for one in dataset.classes] == ["cat", "dog"]
    assert any("a/photos" in one for one in dataset.warnings)


def test_one_place_is_not_given_to_train_and_to_test_with(tmp_path):
    write_folder(tmp_path / "set" / "test", tag="test")
    write_folder(tmp_path / "set" / "train")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "set" / "train")
    for train, test in ((tmp_path / "set" / "train", link), (tmp_path / "set/test",) * 2):
        with pytest.raises(InvalidArgument) as caught:
            arranged(train, test, root=tmp_path)
        assert caught.value.reason == "SAME_PLACE"


def test_where_it_is_not_certain_the_import_stops(tmp_path):
    write_folder(tmp_path, classes=("cat", "dog"))
    write_folder(tmp_path / "test", tag="test")
    with pytest.raises(InvalidArgument, match="--layout classes") as caught:
        arranged(tmp_path, root=tmp_path)
    assert caught.value.reason == "LAYOUT_UNCLEAR"
    dataset, _, _ = take(tmp_path, root=tmp_path, finds_layout=False)
    assert [one.class_name for one in dataset.classes] == ["cat", "dog", "test"]


def test_splits_in_the_object_store_are_found_as_on_disk():
    store = MemoryStore()
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            store.put(f"set/{split}/{name}/1.png", picture((split, name)))
    dataset, _, _ = arranged("store:set", root="/nowhere", store=store)
    counts = [(one.class_name, one.train_count, one.test_count) for one in dataset.classes]
    assert counts == [("cat", 1, 1), ("dog", 1, 1)]
    dataset, items, _ = arranged("store:set", "store:set/test", root="/nowhere", store=store)
    assert (len(sources(items, "train")), len(sources(items, "test"))) == (2, 2)
    with pytest.raises(InvalidArgument) as caught:
        arranged("store:set/test", "store:set/test/", root="/nowhere", store=store)
    assert caught.value.reason == "SAME_PLACE"


def test_names_that_look_alike_are_one_class_and_that_is_said(tmp_path):
    composed, apart = (unicodedata.normalize(form, "Zürich") for form in ("NFC", "NFD"))
    write_folder(tmp_path / "train", classes=(composed, "dog"))
    write_folder(tmp_path / "test", classes=(apart, "dog "), tag="test")
    dataset, _, _ = arranged(tmp_path, root=tmp_path)
    counts = [(one.class_name, one.train_count, one.test_count) for one in dataset.classes]
    assert counts == [(composed, 3, 3), ("dog", 3, 3)]
    assert any("'dog' is also written 'dog '" in one for one in dataset.warnings)
    assert any("u\\u0308" in one and "they are one class" in one for one in dataset.warnings)


def test_classes_that_differ_by_case_and_those_of_one_image_are_a_warning(tmp_path):
    write_folder(tmp_path, classes=("Polish", "polish"))
    write_folder(tmp_path, classes=("owl",), count=1)
    dataset, _, _ = arranged(tmp_path, root=tmp_path)
    assert [one.class_name for one in dataset.classes] == ["Polish", "owl", "polish"]
    assert any("'Polish', 'polish' differ by case only" in one for one in dataset.warnings)
    assert any("classes of one training image: 'owl'" in one for one in dataset.warnings)


def test_a_class_of_a_name_that_cannot_be_seen_is_left_out_and_the_others_stay(tmp_path):
    write_folder(tmp_path)
    write_folder(tmp_path, classes=("\u200b", " "), count=1, tag="blank")
    dataset, items, _ = arranged(tmp_path, root=tmp_path)
    assert len(items) == 6
    assert set(reasons(dataset).values()) == {"NO_CLASS"}
