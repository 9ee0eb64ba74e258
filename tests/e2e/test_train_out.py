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

from trainer.classifiers.building import Normaliser, build
from trainer.classifiers.table import classifiers
from trainer.evaluation import predict

FILES = ["card.json", "confusion.csv", "confusion.png", "metrics.jsonl", "model.safetensors",
         "predictions.parquet"]  # fmt: skip

pytestmark = [pytest.mark.servers, pytest.mark.slow]

CPU = torch.device("cpu")


def arguments(photographs, *more):
    return ("train", photographs / "train", "--test", photographs / "test", "--state", "state",
            "--out", "kept", *map(str, more))  # fmt: skip


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_the_weights_give_the_stored_predictions_again(variegate, photographs, tmp_path):
    finished = variegate(*arguments(photographs, "--seeds", 2, "--steps", 20, "--json"))
    assert finished.code == 0, finished.err
    out = tmp_path / "kept"
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


def test_a_killed_run_leaves_whole_folders_and_goes_on(variegate, photographs, tmp_path):
    command = arguments(photographs, "--seeds", 3, "--steps", 60)
    process, out = variegate.start(*command), tmp_path / "kept"
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
    finished = variegate(*command)
    assert finished.code == 0, finished.err
    assert sorted(path.name for path in (out / "real").iterdir()) == ["seed-0", "seed-1", "seed-2"]
    assert (out / "results.json").exists()
    again = variegate(*command)
    assert again.code == 3 and "finished output of this same command" in again.err
