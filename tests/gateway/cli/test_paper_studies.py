"""The papers' own protocols: each file plans in full, without an image."""

from pathlib import Path

import pytest

from gateway.cli.failures import CliError
from gateway.cli.grid import counts_of, study_of
from gateway.cli.root import own_methods
from gateway.cli.study_file.names import Known
from gateway.cli.study_file.schema import read_study
from gateway.cli.subset import WHOLE, Subset

COUNTS = "imagenet_lt_counts.txt"
FILES = sorted((Path(__file__).parents[3] / "studies" / "papers").glob("*.yaml"))
# Rows that are methods, and images a class of the largest.
ROWS = {
    "augcond_few_shot": (10, 16),
    "augcond_imagenet_lt": (10, 116),
    "burg_imagenet": (11, 128),
    "diversify_scaling": (4 * 2 * 5, 7687),
    "mvc_caltech101": (3 * 3 * 3, 90),
    "mvc_cifar100_4000": (3 * 3 * 3 * 2, 120),
    "mvc_cifar10_4000": (3 * 3 * 3 * 2, 1200),
}
# The others are given the very images of the paper.
PROTOCOLS = {
    "augcond_few_shot": Subset(shots=16),
    "burg_imagenet": Subset(fraction=0.2, validation=0.5),
    "mvc_caltech101": Subset(shots=30),
    "mvc_cifar100_4000": Subset(labels=4000),
    "mvc_cifar10_4000": Subset(labels=4000),
}


@pytest.fixture(params=FILES, ids=lambda file: file.stem)
def file(request, tmp_path):
    """A study file, and beside it the counts that people make for that of ImageNet-LT: a head of
    1,280, and as many images in all."""
    path = tmp_path / request.param.name
    path.write_text(request.param.read_text())
    tail = 115_846 - 1280
    counts = [1280, *(tail // 999 + (number < tail % 999) for number in range(999))]
    lines = [f"n{number:08d} = {count}" for number, count in enumerate(counts)]
    (tmp_path / COUNTS).write_text("\n".join(lines))
    return path


def test_a_papers_study_plans_every_row(file):
    args = read_study(file, None, data="data", test="test")
    want = args.expected
    trained = round(want.images * (1 - args.subset.validation))
    counts = counts_of(args, want.classes, trained)
    classes = args.subset.class_counts
    study = study_of(args, args.methods, "datasets/d", "", counts, classes=classes)
    assert (len(study.arms), study.images_per_class) == ROWS[file.stem]
    assert len({str(arm) for arm in study.arms}) == len(study.arms)
    if classes:
        filled = {c + study.arms[0].class_counts[name] for name, c in classes.items()}
        assert filled == {1280} and sum(classes.values()) == want.images
    else:
        assert args.subset == PROTOCOLS.get(file.stem, WHOLE)
    drawn = args.subset.labels or args.subset.shots * want.classes
    assert drawn in (0, want.images)


def test_all_papers_are_there():
    assert {file.stem for file in FILES} == ROWS.keys()


def test_all_that_a_papers_study_names_is_there(file):
    assert read_study(file, Known(own_methods()), data="data", test="test").methods


def test_the_counts_of_imagenet_lt_are_asked_for_by_name():
    [file] = [file for file in FILES if file.stem == "augcond_imagenet_lt"]
    with pytest.raises(CliError, match=f"{COUNTS} cannot be read"):
        read_study(file, None, data="data", test="test")
