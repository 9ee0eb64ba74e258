"""`train --out`: what it keeps is what was measured."""

import csv
import json
import signal
import time

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from tests.command_line import CommandLine
from trainer.classifiers.building import Normaliser, build
from trainer.classifiers.table import classifiers
from trainer.evaluation import predict

FILES = ["card.json", "confusion.csv", "confusion.png", "metrics.jsonl", "model.onnx",
         "model.safetensors", "predictions.parquet"]  # fmt: skip

pytestmark = [pytest.mark.servers, pytest.mark.slow]

CPU = torch.device("cpu")


def arguments(photographs):
    return ("train", photographs / "train", "--test", photographs / "test", "--state", "state",
            "--out", "kept", "--seeds", "3", "--train-steps", "20", "--onnx", "--json")  # fmt: skip


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    return CommandLine(tmp_path_factory.mktemp("train_out"))


@pytest.fixture(scope="module")
def finished(line, photographs):
    """What a run said that was killed with one of its three seeds whole, and ran again."""
    command = arguments(photographs)
    process, out = line.start(*command), line.folder / "kept"
    try:
        deadline = time.monotonic() + 120
        while not (out / "real" / "seed-0").exists() and time.monotonic() < deadline:
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert not (out / "results.json").exists()
    for folder in (out / "real").glob("seed-*"):
        assert sorted(path.name for path in folder.iterdir()) == FILES
    finished = line(*command)
    assert finished.code == 0, finished.err
    return finished


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_the_weights_give_the_stored_predictions_again(line, finished, photographs):
    out = line.folder / "kept"
    assert json.loads((out / "results.json").read_text()) == finished.json()
    for seed, accuracy in enumerate(finished.json()["rows"][0]["accuracies"]):
        folder = out / "real" / f"seed-{seed}"
        assert sorted(path.name for path in folder.iterdir()) == FILES
        card = json.loads((folder / "card.json").read_text())
        assert card["display_names"] == {"airplane": "airplane", "dog": "dog", "ship": "ship"}
        rows = pq.read_table(folder / "predictions.parquet").to_pylist()
        paths = [photographs / "test" / row["file_name"] for row in rows]
        images = np.stack([pixels(path) for path in paths])
        classifier = classifiers()[card["classifier"]]
        model = build(classifier, len(card["class_names"]))
        model.load_state_dict(load_file(folder / "model.safetensors"))
        found = predict(model, [torch.from_numpy(images)], Normaliser(classifier, CPU), CPU)
        named = [card["class_names"][label] for label in found.labels]
        assert named == [row["predicted_class_name"] for row in rows]
        np.testing.assert_allclose(
            found.confidences, [row["confidence"] for row in rows], atol=1e-4
        )
        _, *table = csv.reader((folder / "confusion.csv").read_text("utf-8").splitlines())
        counts = np.array([row[1:] for row in table], int)
        assert counts.sum() == len(rows) == 30
        assert counts.trace() / 30 == pytest.approx(accuracy)
        assert pixels(folder / "confusion.png").shape[1] > 3 * 40


def test_a_killed_run_leaves_whole_folders_and_goes_on(line, finished, photographs):
    out = line.folder / "kept"
    assert sorted(path.name for path in (out / "real").iterdir()) == ["seed-0", "seed-1", "seed-2"]
    assert (out / "results.json").exists()
    again = line(*arguments(photographs))
    assert again.code == 3
    assert "finished output of this same command" in again.out + again.err
