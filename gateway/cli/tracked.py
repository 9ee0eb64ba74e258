"""What a tracker is told of a training run: of `train`, and of a finished study."""

import asyncio
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from variegate.gateway.v1.gateway_pb2 import Dataset
from variegate.trainer.v1 import trainer_pb2 as pb

from gateway.cli.session import Session
from gateway.cli.tracking import TrackedRun, Wandb
from gateway.cli.training import settings_of
from gateway.export.results import ResultRow, StudyResults
from servicekit.storage import ObjectStore, to_key

_OPTIONAL = ("top5_accuracy", "calibration_error")


def id_of(name: str) -> str:
    """ "trainingRuns/ID" -> "ID"."""
    return name.rpartition("/")[2]


def of_run(store: ObjectStore, run: pb.TrainingRun, dataset: Dataset, group: str) -> TrackedRun:
    """A run of `train`."""
    result = run.result
    config = {
        "dataset": dataset.name,
        "dataset_digest": dataset.digest,
        "strategy": run.strategy,
        "seed": run.seed,
        **settings_of(run),
        "real_image_count": result.real_image_count,
        "added_image_count": result.synthetic_image_count,
    }
    summary = {
        "accuracy": result.accuracy,
        "balanced_accuracy": result.balanced_accuracy,
        **{name: getattr(result, name) for name in _OPTIONAL if result.HasField(name)},
        "class_accuracy": {
            one.class_name: one.accuracy for one in result.classes if one.HasField("accuracy")
        },
        "test_sets": {one.name: one.accuracy for one in result.test_sets},
    }
    if result.HasField("validation"):
        summary["validation_accuracy"] = result.validation.accuracy
    name = f"{run.strategy}, seed {run.seed}"
    history = _history(store, result.metrics_uri)
    return TrackedRun(id_of(run.name), name, group, config, history, _known(summary))


async def track_study(session: Session, out: Path) -> None:
    """Logs each classifier of the study in a folder, once where rows share it."""
    text = await asyncio.to_thread((out / "results.json").read_text, "utf-8")
    results, store = StudyResults.from_json(text), session.connection.need_store()
    cells: dict[str, list[tuple[ResultRow, int]]] = {}
    for row in results.rows:
        for at, one in enumerate(row.training_runs):
            cells.setdefault(one.name, []).append((row, at))
    tracker = Wandb()
    for name, rows in cells.items():
        await tracker.log(id_of(name), partial(_of_cell, store, results, rows))
    await tracker.conclude(session.view.say)
    unnamed = sum(len(row.accuracies) for row in results.rows if not row.training_runs)
    if unnamed:
        session.view.say(
            f"warning: {unnamed} classifiers were not logged with wandb: results of an older "
            "gateway do not name their training runs"
        )


def _of_cell(
    store: ObjectStore, results: StudyResults, rows: list[tuple[ResultRow, int]]
) -> TrackedRun:
    row, at = rows[0]
    run, seed = row.training_runs[at], (row.seeds or results.seeds)[at]
    drawn = {one.seed: (one.dataset, one.digest) for one in results.subsets}
    dataset, digest = drawn.get(seed, (results.dataset.name, results.dataset.digest))
    own = {name: v for name in ("policy", "classifier") if (v := getattr(row, name))}
    config = {
        "study": results.study,
        "dataset": dataset,
        "dataset_digest": digest,
        "rows": [one.label for one, _ in rows],
        "method": row.method,
        "parameters": dict(row.parameters),
        "strategy": row.strategy,
        "seed": seed,
        **results.training,
        **row.training,
        **own,
        "real_image_count": row.real_image_count,
        "added_image_count": run.added_image_count,
    }
    classes = zip(results.dataset.class_names, run.class_accuracies, strict=True)
    summary = {
        "accuracy": row.accuracies[at],
        **{name: getattr(run, name) for name in _OPTIONAL},
        "balanced_accuracy": row.balanced.accuracies[at] if row.balanced else None,
        "class_accuracy": dict(classes),
        "test_sets": {name: one.accuracies[at] for name, one in row.test_sets.items()},
    }
    if len(row.validation_accuracies) == len(row.accuracies):
        summary["validation_accuracy"] = row.validation_accuracies[at]
    history = _history(store, run.metrics_uri)
    name = f"{row.label}, seed {seed}"
    return TrackedRun(id_of(run.name), name, results.study, config, history, _known(summary))


def _history(store: ObjectStore, uri: str) -> list[tuple[int, Mapping[str, float]]]:
    """The curve of a run, which is beside its other results."""
    if not uri:
        return []
    lines = map(json.loads, store.get(to_key(uri)).decode().splitlines())
    return [(line["step"], line["values"]) for line in lines]


def _known(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Without what was not measured, with the shortest text of a float32."""
    known: dict[str, Any] = {}
    for name, value in summary.items():
        if isinstance(value, Mapping):
            known |= {name: inner} if (inner := _known(value)) else {}
        elif value is not None:
            known[name] = float(f"{value:.7g}")
    return known
