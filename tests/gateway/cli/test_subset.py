"""Which images are used, as flags of every command that imports."""

import pytest
from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.cli.inputs import dataset_id, run_id
from gateway.cli.subset import Subset, drawn, drawn_line
from gateway.cli.subset_options import GivenSubset

FLAGS = [
    (["--shots", "2"], {"shots": 2}),
    (["--fraction", "0.1"], {"protocol": pb.SubsetProtocol(fraction=0.1)}),
    (
        ["--labels", "400", "--subset-seed", "3"],
        {"protocol": pb.SubsetProtocol(label_count=400, seed=3)},
    ),
    (
        ["--long-tail", "100", "--head-count", "50"],
        {"protocol": pb.SubsetProtocol(long_tail=pb.LongTail(imbalance_factor=100, head_count=50))},
    ),
    (
        ["--class-counts", "counts.txt", "--validation", "0.25"],
        {
            "protocol": pb.SubsetProtocol(
                class_counts=pb.ClassCounts(counts={"cat": 5, "dog": 2}), validation_fraction=0.25
            )
        },
    ),
]


@pytest.fixture
def counts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "counts.txt").write_text("cat = 5\ndog = 2\n")


@pytest.mark.parametrize(("flags", "fields"), FLAGS, ids=lambda one: str(one)[:20])
def test_flags_are_what_the_import_is_asked_for(variegate, gateway, photos, counts, flags, fields):
    answer = variegate("import", photos, *flags, "--gateway", gateway.target)
    assert answer.code == 0, answer.err
    source = gateway.requests[-1].source
    asked = pb.DatasetSource(train_uri=source.train_uri, **fields)
    assert source == asked


@pytest.mark.parametrize("command", ["augment", "study", "train"])
def test_the_other_commands_have_the_same_flags(variegate, gateway, made, photos, command):
    extra = ["--trainer", gateway.target, "--seeds", "1"] if command == "train" else []
    extra += [] if command == "augment" else ["--test", photos]
    extra += ["--methods", "mvc"] if command == "study" else []
    variegate(command, photos, "--fraction", "0.5", "--subset-seed", "2", *extra, *made)
    [asked] = [one for one in gateway.requests if isinstance(one, pb.ImportDatasetRequest)]
    assert asked.source.protocol == pb.SubsetProtocol(fraction=0.5, seed=2)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--shots", "2", "--labels", "4"], "--shots and --labels both say how many images are"),
        (["--head-count", "4"], "--head-count belongs to a long tail; add --long-tail"),
        (["--subset-seed", "4"], "--subset-seed draws nothing"),
        (["--class-counts", "none.txt"], "none.txt cannot be read"),
        (["--fraction", "1.5"], "'--fraction'"),
        (["--fraction", "0"], "'--fraction'"),
        (["--validation", "0.6"], "'--validation'"),
    ],
)
def test_what_does_not_go_together_is_told_before_anything_starts(
    variegate, gateway, photos, flags, words
):
    answer = variegate("import", photos, *flags, "--gateway", gateway.target)
    assert answer.code in (2, 3) and words in answer.err
    assert not gateway.requests


def test_a_count_that_is_none_is_told(variegate, gateway, photos, tmp_path):
    (tmp_path / "zero.txt").write_text("cat = 0\n")
    answer = variegate("import", photos, "--class-counts", tmp_path / "zero.txt")
    assert answer.code == 2 and "'0' of 'cat' is no number in [1, 1000000]" in answer.err


def test_everything_that_decides_over_the_images_is_in_the_names():
    subsets = [
        Subset(), Subset(shots=2), Subset(fraction=0.1), Subset(fraction=0.2),
        Subset(fraction=0.1, subset_seed=1), Subset(fraction=0.1, validation=0.1),
        Subset(labels=2), Subset(long_tail=2.0), Subset(long_tail=2.0, head_count=2),
        Subset(class_counts={"cat": 2}), Subset(class_counts={"cat": 3}),
    ]  # fmt: skip
    assert len({dataset_id("store:pets", None, one) for one in subsets}) == len(subsets)
    assert len({run_id("study", {"subset": one}) for one in subsets}) == len(subsets)


def test_shots_keep_the_names_that_they_had():
    assert run_id("study", {"subset": Subset(5)}) == run_id("study", {"shots": 5})


def dataset(source):
    counts = [(9, 1, 90), (4, 1, 40), (3, 0, 30)]
    return pb.Dataset(
        source=source,
        classes=[
            pb.DatasetClass(train_count=train, validation_count=kept, available_count=available)
            for train, kept, available in counts
        ],
    )


def test_what_was_drawn_is_said():
    source = pb.DatasetSource(protocol=pb.SubsetProtocol(fraction=0.1, validation_fraction=0.1))
    assert drawn_line(dataset(source)) == (
        "subset   10 % of each class, seed 0: 16 of 160 images to train on, 3 / 4 / 9 a class "
        "(least, median, most); 2 to choose by (validation), 0 / 1 / 1 a class "
        "(least, median, most)"
    )
    assert drawn(dataset(source))["train_by_class"] == {"min": 3, "median": 4, "max": 9}
    assert drawn_line(dataset(pb.DatasetSource())) == ""


def test_numbers_are_read_from_the_options_alone():
    assert GivenSubset({"shots": 0, "fraction": None}).read() == Subset()
