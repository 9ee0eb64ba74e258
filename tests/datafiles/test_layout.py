"""What the folders of a data set are: splits, classes or one folder around everything."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datafiles.places.layout import UnclearLayout, find_layout, find_test, role_of
from datafiles.places.listing import listed


def tree(*folders, name="1.jpg"):
    """The tree of folders with a file each."""
    return listed(f"{folder}/{name}" for folder in folders)


def layout(*folders, **options):
    found = find_layout(tree(*folders), "data", **options)
    return found.train, found.test


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("train", "train"),
        ("Training", "train"),
        ("training_set", "train"),
        ("TRAIN-images", "train"),
        ("train2017", "train"),
        ("test", "test"),
        ("Testing", "test"),
        ("test set", "test"),
        ("val", "validation"),
        ("valid", "validation"),
        ("Validation", "validation"),
        ("dev", "validation"),
        ("val2017", "validation"),
        ("trainer", None),
        ("trains", None),
        ("bullet train", None),
        ("devil", None),
        ("images", None),
        ("data", None),
        ("2017", None),
    ],
)
def test_split_names_are_known_in_any_case_and_other_names_are_none(name, role):
    assert role_of(name) == role


@pytest.mark.parametrize("train", ["train", "Training", "TRAIN"])
@pytest.mark.parametrize("test", ["test", "Testing", "val", "valid", "validation", "dev"])
def test_train_and_test_are_splits(train, test):
    folders = [f"{split}/{name}" for split in (train, test) for name in ("cat", "dog")]
    assert layout(*folders) == (train, test)
    [note] = find_layout(tree(*folders), "data").notes
    assert repr(train) in note and repr(test) in note


def test_validation_images_are_never_trained_on_and_not_used_beside_test_images():
    found = find_layout(tree("train/cat", "val/cat", "test/cat"), "data")
    assert (found.train, found.test) == ("train", "test")
    assert "'val' not used" in found.notes[0]


def test_test_images_given_from_elsewhere_leave_the_others_unused():
    found = find_layout(tree("train/cat", "val/cat", "test/cat"), "data", with_test=False)
    assert (found.train, found.test) == ("train", None)
    assert "'test', 'val' not used" in found.notes[0]


@pytest.mark.parametrize(
    ("folders", "train"),
    [
        (["photos/cat", "photos/dog"], "photos"),
        (["a/b/cat", "a/b/dog"], "a/b"),
        (["cat", "dog"], ""),
        (["cat/2020", "dog/2021"], ""),
        (["cat"], ""),
        (["cat/2020"], ""),
        (["cat/2020/may"], ""),
        (["train/cat", "train/dog"], "train"),
        (["set/train/cat", "set/train/dog"], "set/train"),
        (["training_set/training_set/cat", "training_set/training_set/dog"],
         "training_set/training_set"),
    ],
)  # fmt: skip
def test_one_folder_around_everything_is_gone_through(folders, train):
    assert layout(*folders) == (train, None)


def test_splits_in_one_folder_each_with_a_folder_around_its_classes():
    folders = [f"x/{s}/{s}/{c}" for s in ("training_set", "test_set") for c in ("cats", "dogs")]
    found = layout(*folders)
    assert found == ("x/training_set/training_set", "x/test_set/test_set")


def test_what_is_gone_through_is_said_and_so_is_what_lies_beside_it():
    found = find_layout(listed(["cover.jpg", "photos/cat/1.jpg", "photos/dog/1.jpg"]), "data")
    assert found.train == "photos"
    assert "data/photos" in found.notes[0]
    assert "1 images that lie beside photos are not used" in found.notes[1]


def test_a_class_of_folders_that_is_alone_stays_one_and_that_is_said():
    [note] = find_layout(tree("photos/cat"), "data").notes
    assert "'photos' is the only class" in note and "give data/photos" in note


def test_a_class_called_train_beside_other_classes_is_one():
    found = find_layout(tree("train", "bus", "car"), "data")
    assert (found.train, found.test) == ("", None)
    assert "'train' is a class" in found.notes[0]


@pytest.mark.parametrize(
    "folders",
    [
        ["train", "test"],
        ["train"],
        ["train/cat", "test"],
        ["train/cat", "test/cat", "other/cat"],
        ["cat", "dog", "test/cat", "test/dog"],
        ["cat", "dog", "test"],
        ["test/cat", "test/dog"],
        ["val/cat", "test/cat"],
        ["train/cat", "training/cat", "test/cat"],
        ["train/steam", "train/diesel", "test/tube", "test/rack"],
        ["train/train/cat", "train/test/cat"],
    ],
)
def test_where_it_is_not_certain_nobody_guesses(folders):
    with pytest.raises(UnclearLayout, match=r"--layout classes") as caught:
        layout(*folders)
    assert "data" in str(caught.value)


def test_a_refusal_says_what_to_type():
    with pytest.raises(UnclearLayout, match=r"data/Train.*for training and give data/TEST"):
        layout("Train/cat", "TEST/cat", "extra/cat")
    with pytest.raises(UnclearLayout, match=r"Give data/photos if they are its folders"):
        find_layout(listed(["photos/a.jpg", "photos/cat/1.jpg", "photos/dog/1.jpg"]), "data")


def test_the_test_place_may_have_splits_and_folders_around_it_too():
    assert find_test(tree("train/cat", "test/cat"), "data").train == "test"
    assert find_test(tree("train/cat", "val/cat"), "data").train == "val"
    assert find_test(tree("test/cat", "test/dog"), "data").train == "test"
    assert find_test(tree("photos/cat", "photos/dog"), "data").train == "photos"
    assert find_test(tree("cat", "dog"), "data").train == ""
    with pytest.raises(UnclearLayout, match="no test images"):
        find_test(tree("train/cat"), "data")


@pytest.mark.parametrize("name", ["000.tar", "000.TAR", "part.parquet"])
def test_splits_may_hold_shards(name):
    assert find_layout(tree("train", "test", name=name), "data").test == "test"


@pytest.mark.parametrize("table", ["metadata.csv", "metadata.jsonl", "labels.CSV"])
def test_splits_may_hold_a_table_that_tells_the_classes(table):
    paths = [f"{split}/{name}" for split in ("train", "test") for name in ("1.jpg", table)]
    assert find_layout(listed(paths), "data").test == "test"
    inside = find_layout(listed(["images/1.jpg", table]), "data")
    assert (inside.train, inside.test) == ("", None)


@pytest.mark.parametrize(
    "names",
    [
        ("train-000.tar", "val-000.tar"),
        ("a_test.tar", "a_train.tar"),
        ("imagenetTrain.tar", "imagenetVal.tar"),
        ("a-00.tar", "test-00.tar"),
        ("data-0.parquet", "heldout-0.parquet"),
    ],
)
def test_shards_of_several_splits_in_one_folder_are_refused(names):
    with pytest.raises(UnclearLayout, match="several splits"):
        find_layout(listed(names), "data")


@pytest.mark.parametrize(
    "names", [("a-0.tar", "a-1.tar"), ("train-0.tar", "extra.tar"), ("test-0.tar",)]
)
def test_shards_of_one_split_are_one_dataset(names):
    assert find_layout(listed(names), "data").train == ""


def test_files_that_are_no_images_decide_nothing():
    files = ["train/cat/1.jpg", "test/cat/1.jpg", "notes/a.txt", "README.md", "notes/labels.csv"]
    found = find_layout(listed(files), "data")
    assert (found.train, found.test) == ("train", "test")


def test_images_need_no_suffix():
    files = ["train/cat/0001", "test/cat/0002"]
    assert find_layout(listed(files), "data").test == "test"


_names = st.sampled_from(["train", "test", "val", "cat", "dog", "photos"])
_paths = st.lists(_names, min_size=0, max_size=4).map(lambda p: "/".join([*p, "1.jpg"]))


@given(st.lists(_paths, max_size=8))
def test_whatever_is_found_exists_and_no_split_holds_another(paths):
    try:
        found = find_layout(listed(paths), "data")
    except UnclearLayout:
        return
    root = listed(paths)
    root.below(found.train)
    if found.test is not None:
        root.below(found.test)
        assert not f"{found.train}/".startswith(f"{found.test}/")
        assert not f"{found.test}/".startswith(f"{found.train}/")
        assert found.train.split("/")[-1] not in ("test", "val")
