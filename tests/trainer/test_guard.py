"""What the guard refuses, on values."""

import pyarrow as pa
import pytest

from servicekit.errors import InvalidArgument, Precondition
from trainer.guard import check_pixels, check_test_set
from trainer.guard import select as select_images
from trainer.manifests import DATASET, SYNTHETIC, Manifest


def item(name: str, label: int, split: str, sha256: str) -> dict[str, object]:
    row = {"item_id": name, "label": label, "split": split, "sha256": sha256, "source": ""}
    return row | {"image_uri": f"store:{name}", "class_name": "ab"[label], "width": 0, "height": 0}


TRAIN = [item(f"t{n}", n % 2, "train", f"ts{n}") for n in range(4)]
TEST = [item(f"e{n}", n % 2, "test", f"es{n}") for n in range(2)]


ALL = [*TRAIN, *TEST]


def made(item_id: str = "s0", **values: object) -> dict[str, object]:
    fields = {"image_uri": "store:s", "label": 0, "class_name": "a", "sha256": item_id}
    return {"item_id": item_id, **fields, "source": "generated", "parents": ["t0"], **values}


def select(items, ids, synthetic, **options):
    # Of more than one chunk, as a file has row groups.
    tables = [pa.Table.from_pylist(part, DATASET) for part in (items[:3], items[3:])]
    manifest = Manifest("digest", pa.concat_tables(tables))
    return select_images(manifest, ids, pa.Table.from_pylist(synthetic, SYNTHETIC), **options)


def ids_of(images):
    return images.column("item_id").to_pylist()


def test_all_training_items_are_chosen_by_default_and_the_declared_ones_otherwise():
    assert ids_of(select(ALL, [], []).train) == ["t0", "t1", "t2", "t3"]
    chosen = select(ALL, ["t2", "t1"], [made(parents=["t1", "t2"]), made(parents=[])])
    assert ids_of(chosen.train) == ["t2", "t1"]
    assert chosen.class_names == ("a", "b") and len(chosen.test) == 2


def test_labels_need_not_start_at_zero():
    shifted = [row | {"label": row["label"] + 7} for row in ALL]
    selection = select(shifted, [], [made(class_name="b")])
    assert selection.class_names == ("a", "b")
    assert selection.labels(selection.train).tolist() == [0, 1, 0, 1]
    assert selection.labels(selection.synthetic).tolist() == [1]


@pytest.mark.parametrize("ids", [["t0", "t9"], ["t0", "t0"]])
def test_unknown_and_repeated_ids_are_invalid(ids):
    with pytest.raises(InvalidArgument, match=ids[-1]):
        select(ALL, ids, [])


def test_a_test_item_cannot_be_declared_for_training():
    with pytest.raises(Precondition, match="e1") as caught:
        select(ALL, ["t0", "e1"], [])
    assert caught.value.reason == "TEST_IMAGE_IN_TRAINING"


@pytest.mark.parametrize("parent", ["t3", "e0", "stranger"])
def test_a_parent_outside_the_declared_subset_is_refused(parent):
    with pytest.raises(Precondition, match=parent) as caught:
        select(ALL, ["t0", "t1"], [made(), made("s1", parents=["t0", parent])])
    assert caught.value.reason == "PARENT_OUTSIDE_TRAINING_SUBSET"
    assert caught.value.subject == "s1"


def test_a_retrieved_file_that_is_a_test_file_is_refused():
    with pytest.raises(Precondition, match="s1 = test image e1"):
        select(ALL, [], [made(), made("s1", source="retrieved", parents=[], sha256="es1")])


def test_a_file_in_both_splits_is_refused_if_it_is_trained_on():
    both = [*ALL, item("t9", 0, "train", "es0")]
    with pytest.raises(Precondition, match="t9 = test image e0"):
        select(both, [], [])
    assert len(select(both, ["t0", "t1"], []).train) == 2


def test_equal_pixels_are_refused_whatever_the_file():
    chosen = select(ALL, ["t0", "t1"], [made()])

    def check(train, test, synthetic):
        train, test, synthetic = (
            pa.array([one.encode() for one in part]) for part in (train, test, synthetic)
        )
        check_pixels(chosen, train, synthetic, [("test", chosen.test, test)])

    check(["p0", "p1"], ["q0", "q1"], ["r0"])
    with pytest.raises(Precondition, match="s0 = test image e1"):
        check(["p0", "p1"], ["q0", "q1"], ["q1"])
    with pytest.raises(Precondition, match="t1 = test image e0"):
        check(["p0", "q0"], ["q0", "q1"], ["r0"])


def test_many_offenders_are_counted_and_a_few_named():
    many = [made(f"s{n}", parents=["e0"]) for n in range(9)]
    with pytest.raises(Precondition, match=r"9 synthetic images .* s4 and 4 more"):
        select(ALL, [], many)


def test_a_class_that_the_dataset_lacks_is_refused():
    with pytest.raises(Precondition, match="zebra"):
        select(ALL, [], [made(class_name="zebra")])


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_dataset_without_one_split_is_refused(split):
    with pytest.raises(Precondition, match=split):
        select([row for row in ALL if row["split"] != split], [], [])


def drawing(name="d0", **values):
    return pa.Table.from_pylist([item(name, 1, "train", "drawn") | values], DATASET)


def test_a_further_test_set_may_lack_classes_but_have_no_others():
    chosen = select(ALL, [], [made()])
    check_test_set(chosen, "sketch", drawing())
    with pytest.raises(Precondition, match=r"'sketch' has classes .* zebra") as caught:
        check_test_set(chosen, "sketch", drawing(class_name="zebra"))
    assert caught.value.reason == "UNKNOWN_CLASS"
    with pytest.raises(Precondition, match="'sketch' is empty"):
        check_test_set(chosen, "sketch", drawing()[:0])


@pytest.mark.parametrize("sha256", ["ts1", "s0"])
def test_a_further_test_set_holds_no_training_image(sha256):
    chosen = select(ALL, [], [made()])
    with pytest.raises(Precondition, match="= test image d0") as caught:
        check_test_set(chosen, "sketch", drawing(sha256=sha256))
    assert caught.value.reason == "TEST_IMAGE_IN_TRAINING"


def test_a_further_test_set_has_the_pixels_of_no_training_image():
    same, none = pa.array([b"p"]), pa.array([], pa.binary())
    with pytest.raises(Precondition, match="t0 = test image d0"):
        check_pixels(select(ALL, ["t0"], []), same, none, [("test", drawing(), same)])


VALIDATION = [item(f"v{n}", n % 2, "validation", f"vs{n}") for n in range(2)]


def test_images_to_choose_by_are_given_to_who_asks_and_trained_on_by_nobody():
    every = [*ALL, *VALIDATION]
    chosen = select(every, [], [], validates=True)
    assert ids_of(chosen.validation) == ["v0", "v1"]
    assert chosen.validation_rows.tolist() == [6, 7]
    assert ids_of(chosen.train) == ["t0", "t1", "t2", "t3"]
    assert len(select(every, [], []).validation) == 0
    with pytest.raises(Precondition, match="no image of the split 'validation'") as caught:
        select(ALL, [], [], validates=True)
    assert caught.value.reason == "SPLIT_EMPTY"


@pytest.mark.parametrize(
    ("ids", "synthetic", "reason"),
    [
        (["t0", "v0"], [], "VALIDATION_IMAGE_IN_TRAINING"),
        ([], [made(parents=["v1"])], "PARENT_OUTSIDE_TRAINING_SUBSET"),
        ([], [made(sha256="vs0")], "VALIDATION_IMAGE_IN_TRAINING"),
    ],
    ids=["declared", "parent", "copy"],
)
def test_no_way_leads_an_image_to_choose_by_into_training(ids, synthetic, reason):
    with pytest.raises(Precondition) as caught:
        select([*ALL, *VALIDATION], ids, synthetic, validates=True)
    assert caught.value.reason == reason


def test_pixels_of_an_image_to_choose_by_are_refused_too():
    selection = select([*ALL, *VALIDATION], [], [], validates=True)
    train, none = pa.array([b"p0", b"p1", b"p2", b"p3"]), pa.array([], pa.binary())
    with pytest.raises(Precondition, match="t2 = validation image v1") as caught:
        kept = [("validation", selection.validation, pa.array([b"q", b"p2"]))]
        check_pixels(selection, train, none, kept)
    assert caught.value.reason == "VALIDATION_IMAGE_IN_TRAINING"
