"""Each paper's study really run in miniature: `make test-papers`. Planning is in the other tests.

All methods and strategies of a file are run, of its policies, classifiers and numbers of images the
first, on ten images of noise a class. What is said with --set is what would take long or needs
more images; all else is as the file has it.
"""

import json
from pathlib import Path

import pytest
import yaml

from tests.papers.conftest import CLASSES

FOLDER = Path(__file__).parents[2] / "studies" / "papers"
# By default a tuning takes 40 passes.
TUNED = ("ft_conditioning", "ft_cluster_conditioning", "imagic", "textual_inversion",
         "pseudoword_dm", "mvc+tuned")  # fmt: skip
SMALL = {"seeds": 1, "training.steps": 2, "training.batch_size": 8}
PIXELS = {"training.image_size": 32, "classifiers": "cnn4"}
# What else each is given.
SETS = {
    "augcond_few_shot": {**PIXELS, "protocol.shots": 2, "per_class": 1},
    "augcond_imagenet_lt": {**PIXELS, "fill_to": 6},
    "burg_imagenet": PIXELS,
    "diversify_scaling": {
        "training.image_size": 64, "classifiers": "resnet18", "ratios": [0.1, 0.2],
    },
    "mvc_caltech101": {**PIXELS, "protocol.shots": 2, "ratios": 0.5, "policies": "standard"},
    "mvc_cifar100_4000": {**PIXELS, "protocol.labels": 6, "ratios": 0.5, "policies": "autoaugment"},
    "mvc_cifar10_4000": {**PIXELS, "protocol.labels": 6, "ratios": 0.5, "policies": "randaugment"},
}  # fmt: skip


def overrides(file):
    """The --set options of a file; tunings take one pass."""
    methods = yaml.safe_load(file.read_text())["methods"]
    short = [{one: {"epochs": 1}} if one in TUNED else one for one in methods]
    sets = {**SMALL, **SETS[file.stem]}
    if short != methods:
        sets["methods"] = short
    return [word for key, value in sets.items() for word in ("--set", f"{key}={json.dumps(value)}")]


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.yaml")), ids=lambda file: file.stem)
def test_a_papers_study_runs_in_miniature(variegate, data, tmp_path, file):
    copy = tmp_path / file.name
    copy.write_text(file.read_text())
    counts = zip(CLASSES, (5, 3, 2), strict=True)
    (tmp_path / "imagenet_lt_counts.txt").write_text("\n".join(f"{c} = {n}" for c, n in counts))
    pool = ["--pool", data / "pool.parquet"] if file.stem == "burg_imagenet" else []
    code, found, said = variegate(
        "study", copy, "--data", data / "train", "--test", data / "test", *pool, *overrides(file),
        "--out", tmp_path / "out", "--yes",
    )  # fmt: skip
    assert found.get("rows"), said
    asked = yaml.safe_load(file.read_text())
    rows = {(row["method"], row["strategy"]) for row in found["rows"]}
    strategies = asked["strategies"]
    strategies = strategies if isinstance(strategies, list) else [strategies]
    methods = [one if isinstance(one, str) else next(iter(one)) for one in asked["methods"]]
    assert rows >= {(method, how) for method in methods for how in strategies}
    assert not found["failures"], found["failures"]
    assert code in (0, 5), "5 says that a row got fewer images than it should have"
    assert "is meant for" in said, "these are not the paper's images"
    if file.stem == "burg_imagenet":
        assert found["training"]["schedule"] == "plateau"
    assert (tmp_path / "out" / "STUDY.md").exists()
