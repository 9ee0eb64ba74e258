"""Which images of a dataset are the declared subset."""

from collections import defaultdict
from hashlib import sha256

import pytest
from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.api.subset_messages import subset_from_pb, subset_to_pb
from gateway.datasets.inspect import Inspected
from gateway.datasets.protocols import LongTail, Subset
from gateway.datasets.select import draw
from gateway.datasets.source import Entry
from servicekit.errors import InvalidArgument
from tests.gateway.importing import take
from tests.gateway.pictures import write_folder

EVERY = [
    Subset(),
    Subset(shots=3),
    Subset(shots=3, seed=4),
    Subset(fraction=0.1),
    Subset(label_count=40, seed=1, validation_fraction=0.25),
    Subset(long_tail=LongTail(100.0, 50)),
    Subset(class_counts={"cat": 3, "dog": 1}),
    Subset(validation_fraction=0.1, seed=2),
]


def images_of(**counts):
    return [
        Inspected(
            Entry(f"{name}/{number}", name, bytes),
            sha256=sha256(f"{name} {number}".encode()).hexdigest(),
            pixel_sha256="", width=8, height=8, suffix="png",
        )
        for name, count in counts.items() for number in range(count)
    ]  # fmt: skip


def counts(subset, **available):
    return subset.counts_of(available)


def names(images):
    return {image.entry.path for image in images}


def refused(subset, **available):
    with pytest.raises(InvalidArgument) as caught:
        subset.counts_of(available)
    return caught.value


def test_without_a_seed_the_order_is_that_of_the_digests_and_each_seed_has_its_own():
    images = images_of(cat=60)
    first = sorted(images, key=lambda image: image.sha256)[:10]
    assert draw(images, Subset(shots=10)).train == first
    sets = [names(draw(images, Subset(shots=10, seed=seed)).train) for seed in range(5)]
    assert len({frozenset(one) for one in sets}) == 5 and sets[0] == names(first)
    # Chance alone decides over what two seeds share: 10 * 10 / 60 of 10.
    assert max(len(sets[0] & one) for one in sets[1:]) < 8


@pytest.mark.parametrize("seed", [0, 3])
@pytest.mark.parametrize("validation", [0.0, 0.1, 0.5])
@pytest.mark.parametrize(
    "rule",
    [
        lambda k: {"shots": k},
        lambda k: {"fraction": k / 100},
        lambda k: {"label_count": 2 * k + 1},
        lambda k: {"long_tail": LongTail(10.0, k)},
        lambda k: {"class_counts": {"cat": k, "dog": k // 2 + 1}},
    ],
    ids=["shots", "fraction", "labels", "long tail", "counts"],
)
def test_a_draw_holds_the_smaller_draws_of_its_seed(rule, validation, seed):
    images = images_of(cat=100, dog=100)
    for k in (1, 3, 7, 20):
        small, large = (
            draw(images, Subset(**rule(n), seed=seed, validation_fraction=validation))
            for n in (k, 2 * k)
        )
        assert names(small.labelled) <= names(large.labelled)
        assert names(small.train) <= names(large.train)


def test_a_fraction_keeps_the_imbalance_rounds_halves_up_and_leaves_no_class_empty():
    available = {"many": 1300, "some": 25, "few": 15, "one": 1, "other": 50}
    assert counts(Subset(fraction=0.1), **available) == {
        "many": 130, "some": 3, "few": 2, "one": 1, "other": 5,
    }  # fmt: skip
    # 0.29 * 50 is 14.499999999999998 for a computer.
    assert counts(Subset(fraction=0.29), other=50) == {"other": 15}
    assert counts(Subset(fraction=1.0), **available) == available


def test_labels_are_shared_by_the_classes_and_the_first_take_what_is_left():
    assert counts(Subset(label_count=8), a=9, b=9, c=9) == {"a": 3, "b": 3, "c": 2}
    few = refused(Subset(label_count=2), a=9, b=9, c=9)
    assert few.reason == "SUBSET_TOO_SMALL" and "2 labelled images are too few" in few.message


def test_a_long_tail_is_that_of_the_literature():
    """CIFAR-10-LT with an imbalance of 100 (Cui et al., Class-Balanced Loss)."""
    classes = {f"class {number}": 5000 for number in range(10)}
    expected = [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    for head in (0, 5000):
        drawn = counts(Subset(long_tail=LongTail(100.0, head)), **classes)
        assert list(drawn.values()) == expected
    assert list(counts(Subset(long_tail=LongTail(1e6, 3)), a=9, b=9).values()) == [3, 1]
    assert counts(Subset(long_tail=LongTail(10.0)), only=7) == {"only": 7}


def test_a_long_tail_without_a_head_takes_the_most_that_every_class_has():
    available = {"a": 500, "b": 20, "c": 9}
    drawn = counts(Subset(long_tail=LongTail(4.0)), **available)
    assert drawn == {"a": 36, "b": 18, "c": 9}
    one_more = refused(Subset(long_tail=LongTail(4.0, 40)), **available)
    assert "'c' has 9 training images" in one_more.message and "10 are to be drawn" in str(one_more)


@pytest.mark.parametrize(
    "subset",
    [
        Subset(shots=10),
        Subset(label_count=20),
        Subset(long_tail=LongTail(1.0, 10)),
        Subset(class_counts={"cat": 4, "dog": 10}),
    ],
)
def test_a_class_with_too_few_images_is_named(subset):
    error = refused(subset, cat=20, dog=9)
    assert error.reason == "SUBSET_TOO_LARGE"
    assert "the class 'dog' has 9 training images" in error.message
    assert "10 are to be drawn" in error.message


def test_counts_name_every_class_and_no_other():
    strange = refused(Subset(class_counts={"cat": 1, "cow": 1, "dog": 1}), cat=2, dog=2)
    assert strange.reason == "UNKNOWN_CLASS" and "lack: 'cow'" in strange.message
    missing = refused(Subset(class_counts={"cat": 1}), cat=2, dog=2)
    assert "no count for classes: 'dog'" in missing.message


def test_validation_is_cut_from_each_class_of_the_subset_and_from_nothing_else():
    images = images_of(cat=30, dog=9, cow=1)
    drawn = draw(images, Subset(validation_fraction=0.1))
    of = {name: [i for i in drawn.validation if i.entry.class_name == name] for name in
          ("cat", "dog", "cow")}  # fmt: skip
    assert {name: len(kept) for name, kept in of.items()} == {"cat": 3, "dog": 1, "cow": 0}
    assert not names(drawn.train) & names(drawn.validation)
    assert names(drawn.labelled) == names(images)
    few = draw(images_of(cat=30, dog=9), Subset(shots=4, validation_fraction=0.5, seed=1))
    assert (len(few.train), len(few.validation)) == (4, 4)
    assert names(few.labelled) == names(draw(images_of(cat=30, dog=9), Subset(4, seed=1)).train)
    assert few.available == {"cat": 30, "dog": 9}


@pytest.mark.parametrize("subset", EVERY, ids=str)
def test_a_subset_goes_through_the_protos_and_back(subset):
    source = pb.DatasetSource(train_uri="file:///x")
    subset_to_pb(subset, source)
    assert subset_from_pb(source) == subset


def test_shots_alone_are_written_in_the_short_form_however_they_came():
    long = pb.DatasetSource(train_uri="x", protocol=pb.SubsetProtocol(shots=5))
    written = pb.DatasetSource(train_uri="x")
    subset_to_pb(subset_from_pb(long), written)
    assert written == pb.DatasetSource(train_uri="x", shots=5)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (pb.DatasetSource(shots=5, protocol=pb.SubsetProtocol(seed=1)), "SUBSET_UNCLEAR"),
        (pb.DatasetSource(protocol=pb.SubsetProtocol(seed=1)), "NOTHING_TO_DRAW"),
    ],
)
def test_what_says_two_things_or_nothing_is_refused(source, reason):
    with pytest.raises(InvalidArgument) as caught:
        subset_from_pb(source)
    assert caught.value.reason == reason


def test_shots_are_the_first_of_each_class_by_digest(tmp_path):
    everything = take(write_folder(tmp_path, count=6), root=tmp_path)[1]
    dataset, items, _ = take(tmp_path, root=tmp_path, subset=Subset(shots=2))
    for name in ("cat", "dog"):
        digests = sorted(item.sha256 for item in everything if item.class_name == name)
        assert [item.sha256 for item in items if item.class_name == name] == digests[:2]
    assert [(c.train_count, c.available_count) for c in dataset.classes] == [(2, 6), (2, 6)]
    with pytest.raises(InvalidArgument, match=r"'cat' has 6 training images.*'dog'") as caught:
        take(tmp_path, root=tmp_path, subset=Subset(shots=9))
    assert (caught.value.field, caught.value.reason) == ("source.shots", "SUBSET_TOO_LARGE")


def test_validation_is_a_split_of_its_own_and_decides_over_the_digest(tmp_path):
    train = write_folder(tmp_path / "train", count=6)
    test = write_folder(tmp_path / "test", tag="test")
    whole, everything, _ = take(train, test, root=tmp_path)
    dataset, items, _ = take(
        train, test, root=tmp_path, subset=Subset(validation_fraction=0.3, seed=1)
    )
    assert [(c.train_count, c.validation_count, c.test_count) for c in dataset.classes] == [
        (4, 2, 3),
        (4, 2, 3),
    ]
    by_split = defaultdict(set)
    for item in items:
        by_split[item.split].add(item.sha256)
    assert by_split["train"] | by_split["validation"] == {
        item.sha256 for item in everything if item.split == "train"
    }
    assert not by_split["validation"] & (by_split["train"] | by_split["test"])
    other = take(train, test, root=tmp_path, subset=Subset(validation_fraction=0.3, seed=2))[0]
    assert len({whole.digest, dataset.digest, other.digest}) == 3
