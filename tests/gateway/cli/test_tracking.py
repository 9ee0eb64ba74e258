"""--track wandb: real offline runs, read back from the files that wandb wrote."""

import json
import struct
import sys

import pytest
from wandb.proto import wandb_internal_pb2 as records

from gateway.export.results import DatasetSummary, StudyResults
from gateway.study import Arm, RunRecord, StudySpec, build_results
from servicekit.storage import DirectoryStore

CURVE = [(10, {"loss": 2.0, "learning_rate": 0.1}), (20, {"loss": 1.5, "learning_rate": 0.05})]


@pytest.fixture(autouse=True)
def wandb_folder(tmp_path, monkeypatch):
    """An environment without login, whose runs stay in a folder."""
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_DIR"):
        (tmp_path / "person").mkdir(exist_ok=True)
        monkeypatch.setenv(name, str(tmp_path / "person"))
    monkeypatch.setenv("NETRC", str(tmp_path / "person" / "netrc"))
    for name in ("WANDB_API_KEY", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    return tmp_path / "person" / "wandb"


@pytest.fixture
def train(variegate, gateway, made, photos, tmp_path):
    store = DirectoryStore(tmp_path / "objects")
    lines = [json.dumps({"step": step, "values": values}) for step, values in CURVE]
    store.put("curve.jsonl", "\n".join(lines).encode())
    gateway.metrics_uri = "store:curve.jsonl"
    command = ["train", photos, "--test", photos, "--trainer", gateway.target, *made]
    return lambda *more: variegate(*command, *more)


def logged(folder):
    """Config, history, summary and the record of each run, by name."""
    found = {}
    for path in folder.glob("offline-run-*/run-*.wandb"):
        config, history, summary, run = {}, [], {}, None
        for data in _records(path.read_bytes()):
            record = records.Record.FromString(data)
            kind = record.WhichOneof("record_type")
            if kind == "run":
                run = record.run
                config |= {one.key: json.loads(one.value_json) for one in run.config.update}
            elif kind == "history":
                items = {_name(one): json.loads(one.value_json) for one in record.history.item}
                history.append((record.history.step.num, items))
            elif kind == "summary":
                for one in record.summary.update:
                    summary[_name(one)] = json.loads(one.value_json)
        found[run.display_name] = (config, history, summary, run)
    return found


def _name(item):
    return item.key or ".".join(item.nested_key)


def _records(data):
    """The records of a file: blocks of 32 KiB after a header, as a log of LevelDB."""
    at, parts = 7, []
    while at + 7 <= len(data):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        parts.append(data[at + 7 : at + 7 + length])
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield b"".join(parts)
            parts = []


def test_each_run_of_train_is_logged_once_with_recipe_curve_and_results(
    train, gateway, wandb_folder
):
    answer = train("--seeds", 2, "--track", "wandb", "--json")
    assert answer.code == 0, answer.err
    assert "tracked 2 runs with wandb in" in answer.err and "`wandb sync`" in answer.err
    runs = logged(wandb_folder)
    assert set(runs) == {"real, seed 0", "real, seed 1"}
    config, history, summary, run = runs["real, seed 1"]
    assert f"trainingRuns/{run.run_id}" in answer.document["rows"][0]["training_runs"]
    assert (run.project, run.run_group) == ("variegate", runs["real, seed 0"][3].run_group)
    assert (config["strategy"], config["seed"], config["dataset_digest"]) == ("real", 1, "1")
    assert config["image_size"] == 32 and config["added_image_count"] == 0
    for (step, values), (at, items) in zip(CURVE, history, strict=True):
        assert step == at and values.items() <= items.items()
    assert (summary["accuracy"], summary["calibration_error"]) == (0.41, 0.125)
    assert summary["class_accuracy"] == {"cat": 0.41, "dog [x]": 0.41}
    again = train("--seeds", 1, "--track", "wandb")
    assert "wandb has 1 of 1 runs from before" in again.err
    assert len(list(wandb_folder.glob("offline-run-*"))) == 2


def test_without_login_the_results_are_whole_and_a_sentence_says_what_was_not_logged(
    train, monkeypatch
):
    monkeypatch.setenv("WANDB_MODE", "online")
    answer = train("--seeds", 2, "--track", "wandb", "--json")
    assert answer.code == 0 and answer.document["rows"][0]["accuracies"] == pytest.approx(
        [0.4, 0.41]
    )
    assert "warning: 2 of 2 runs were not logged with wandb: No API key" in answer.err
    assert "wandb:" not in answer.err.replace("with wandb:", "")


def test_a_tracker_that_is_not_installed_is_told_before_any_work(train, gateway, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    before = len(gateway.requests)
    answer = train("--track", "wandb")
    assert answer.code == 2 and "needs the package wandb" in answer.err
    assert "pip install 'variegate[wandb]'" in answer.err
    assert len(gateway.requests) == before


def test_without_the_flag_wandb_is_not_imported(train, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "wandb"]:
        monkeypatch.delitem(sys.modules, name)
    assert train("--seeds", 1).code == 0
    assert "wandb" not in sys.modules


def put_study(store):
    """A finished study of two seeds, two of whose rows train the same with seed 1."""
    arms = (Arm("mvc", "combined"), Arm("simple", "combined"))
    spec = StudySpec(
        "s", DatasetSummary("datasets/d", "ab", ("cat", "dog"), (2, 2), (1, 1)), 2, (0, 1), arms
    )
    runs = [
        RunRecord(
            arm, seed, 0.4, {"cat": 0.5, "dog": None}, added_image_count=4 - seed,
            recipe={"policy": "standard", "step_count": 20}, calibration_error=0.25,
            name=f"trainingRuns/{'all' if seed and at else at}-{seed}",
            metrics_uri="store:curve.jsonl",
        )
        for at, arm in enumerate((Arm("baseline", "real"), *arms))
        for seed in (0, 1)
    ]  # fmt: skip
    results = build_results(spec, runs, machine={})
    assert StudyResults.from_json(results.to_json()) == results
    store.put("results.json", results.to_json().encode())
    store.put("report.html", b"<!doctype html>")


def test_each_classifier_of_a_study_is_logged_once_with_its_rows(
    train, variegate, photos, made, tmp_path, wandb_folder
):
    put_study(DirectoryStore(tmp_path / "objects"))
    command = ["study", photos, "--test", photos, "--methods", "mvc", *made, "--yes"]
    answer = variegate(*command, "--track", "wandb", "--out", "s")
    assert answer.code == 0, answer.err
    assert "tracked 5 runs" in answer.err
    runs = logged(wandb_folder)
    assert len(runs) == 5
    config, history, summary, run = runs["mvc, seed 1"]
    assert (run.run_id, run.run_group, config["study"]) == ("all-1", "s", "s")
    assert (config["rows"], config["method"]) == (["mvc", "simple"], "mvc")
    assert (config["step_count"], config["dataset_digest"]) == (20, "ab")
    assert config["added_image_count"] == 3
    assert [step for step, _ in history] == [10, 20]
    assert summary["class_accuracy"] == {"cat": 0.5} and summary["calibration_error"] == 0.25
