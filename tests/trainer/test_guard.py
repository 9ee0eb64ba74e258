"""What the guard refuses, on values."""

from dataclasses import replace

import pytest

from servicekit.errors import InvalidArgument, Precondition
from trainer.guard import check_pixels, select
from trainer.manifests import Item, Manifest, SyntheticItem

TRAIN = [Item(f"t{n}", f"store:t{n}", n % 2, "ab"[n % 2], "train", f"ts{n}") for n in range(4)]
TEST = [Item(f"e{n}", f"store:e{n}", n % 2, "ab"[n % 2], "test", f"es{n}") for n in range(2)]
MANIFEST = Manifest("digest", (*TRAIN, *TEST))


def made(item_id: str = "s0", **values: object) -> SyntheticItem:
    fields = {"image_uri": "store:s", "label": 0, "class_name": "a", "sha256": item_id}
    fields |= {"source": "generated", "parents": ("t0",)}
    return SyntheticItem(item_id, **fields | values)


def test_all_training_items_are_chosen_by_default_and_the_declared_ones_otherwise():
    assert [item.item_id for item in select(MANIFEST, [], []).train] == ["t0", "t1", "t2", "t3"]
    chosen = select(MANIFEST, ["t2", "t1"], [made(parents=("t1", "t2")), made(parents=())])
    assert [item.item_id for item in chosen.train] == ["t2", "t1"]
    assert chosen.class_names == ("a", "b") and len(chosen.test) == 2


def test_labels_need_not_start_at_zero():
    shifted = tuple(replace(item, label=item.label + 7) for item in MANIFEST.items)
    assert select(Manifest("", shifted), [], []).label_of == {"a": 0, "b": 1}


@pytest.mark.parametrize("ids", [["t0", "t9"], ["t0", "t0"]])
def test_unknown_and_repeated_ids_are_invalid(ids):
    with pytest.raises(InvalidArgument, match=ids[-1]):
        select(MANIFEST, ids, [])


def test_a_test_item_cannot_be_declared_for_training():
    with pytest.raises(Precondition, match="e1") as caught:
        select(MANIFEST, ["t0", "e1"], [])
    assert caught.value.reason == "TEST_IMAGE_IN_TRAINING"


@pytest.mark.parametrize("parent", ["t3", "e0", "stranger"])
def test_a_parent_outside_the_declared_subset_is_refused(parent):
    with pytest.raises(Precondition, match=parent) as caught:
        select(MANIFEST, ["t0", "t1"], [made(), made("s1", parents=("t0", parent))])
    assert caught.value.reason == "PARENT_OUTSIDE_TRAINING_SUBSET"
    assert caught.value.subject == "s1"


def test_a_retrieved_file_that_is_a_test_file_is_refused():
    with pytest.raises(Precondition, match="s1 = test image e1"):
        select(MANIFEST, [], [made(), made("s1", source="retrieved", parents=(), sha256="es1")])


def test_a_file_in_both_splits_is_refused_if_it_is_trained_on():
    copy = Item("t9", "store:t9", 0, "a", "train", "es0")
    both = Manifest("", (*MANIFEST.items, copy))
    with pytest.raises(Precondition, match="t9 = test image e0"):
        select(both, [], [])
    assert len(select(both, ["t0", "t1"], []).train) == 2


def test_equal_pixels_are_refused_whatever_the_file():
    chosen = select(MANIFEST, ["t0", "t1"], [made()])
    check_pixels(chosen, ["p0", "p1"], ["q0", "q1"], ["r0"])
    with pytest.raises(Precondition, match="s0 = test image e1"):
        check_pixels(chosen, ["p0", "p1"], ["q0", "q1"], ["q1"])
    with pytest.raises(Precondition, match="t1 = test image e0"):
        check_pixels(chosen, ["p0", "q0"], ["q0", "q1"], ["r0"])


def test_many_offenders_are_counted_and_a_few_named():
    many = [made(f"s{n}", parents=("e0",)) for n in range(9)]
    with pytest.raises(Precondition, match=r"9 synthetic images .* s4 and 4 more"):
        select(MANIFEST, [], many)


def test_a_class_that_the_dataset_lacks_is_refused():
    with pytest.raises(Precondition, match="zebra"):
        select(MANIFEST, [], [made(class_name="zebra")])


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_dataset_without_one_split_is_refused(split):
    with pytest.raises(Precondition, match=split):
        select(Manifest("", tuple(i for i in MANIFEST.items if i.split != split)), [], [])
