"""A study of a file, from images to report: subsets, strategies, test sets, an added row."""

import json
import os
import shutil
import signal
import time

import pytest

from servicekit.storage import DirectoryStore
from tests.e2e.conftest import write_folder

STUDY = """\
name: small
data: ./train
test: ./test
tests: {ships: ./ships}
protocol: {shots: 3, validation: 0.4, subset_seeds: [1, 5]}
methods: [simple, mvc]
strategies: [combined, two_phase]
synthetic: {theirs: ./theirs}
per_class: 2
seeds: 2
training: {steps: 6, batch_size: 4, choose: best}
"""
ROWS = [
    "baseline",
    *(f"{name}{how}" for how in ("", " (two_phase)") for name in ("simple", "mvc")),
]
THEIRS = ["theirs (added folder)", "theirs (two_phase, added folder)"]


def kill_after_a_training(process, store):
    """Kills the system and all of its workers once a classifier is trained."""
    deadline = time.monotonic() + 280
    try:
        while not any(map(is_result, store.list("trainingRuns/"))):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, "nothing was trained"
            time.sleep(0.1)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_study_of_a_file_that_was_killed_goes_on_to_its_report(variegate, photographs, tmp_path):
    for split in ("train", "test"):
        shutil.copytree(photographs / split, tmp_path / split)
    write_folder("test", tmp_path / "ships", ["ship"], 2)
    write_folder("pool", tmp_path / "theirs", ["airplane", "dog", "ship"], 1)
    (tmp_path / "study.yaml").write_text(STUDY)
    store = DirectoryStore(tmp_path / ".variegate" / "objects")
    command = ("study", "study.yaml", "--out", "out", "--yes")
    kill_after_a_training(variegate.start(*command), store)
    runs = {key: store.get(key) for key in store.list("trainingRuns/") if is_result(key)}
    made = set(store.list("generated/"))
    finished = variegate(*command, "--resume", "--json")
    assert finished.code == 0, finished.err
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert sorted(row["label"] for row in results["rows"]) == sorted([*ROWS, *THEIRS])
    assert all(store.get(key) == data for key, data in runs.items()), "nothing is trained again"
    assert made <= {*store.list("generated/")}
    assert [one["subset_seed"] for one in results["subsets"]] == [1, 5]
    assert len({one["digest"] for one in results["subsets"]}) == 2
    assert results["training"]["choose"] == "best" and not results["failures"]
    for row in results["rows"]:
        assert row["seeds"] == [0, 1] and len(row["accuracies"]) == 2
        assert set(row["test_sets"]) == {"ships"}
        assert row["real_image_count"] == 3 * 2, "two of three shots; one is kept to choose by"
    added = {row["label"]: row["added_image_count"] for row in results["rows"]}
    assert added["mvc"] == added["simple (two_phase)"] == 6 and added[THEIRS[0]] == 3
    summary = (tmp_path / "out" / "STUDY.md").read_text()
    assert "the errors contain the choice of real images as well" in summary
    assert "variegate study study.yaml" in summary
    assert (tmp_path / "out" / "study.yaml").read_text() == STUDY
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000


def is_result(key):
    return key.endswith("/result.json")
