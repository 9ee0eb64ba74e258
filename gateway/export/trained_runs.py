"""The classifiers of a study's rows, by the names that the trainer gave them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TrainedRun:
    """One classifier of a row, "trainingRuns/ID" of the trainer; rows that train the same share it.

    Results of before have none. `metrics_uri` is its curve in the object store: a JSON object a
    line, with step and values. `class_accuracies` are in the order of the dataset's class names.
    None is what was not measured.
    """

    name: str
    metrics_uri: str
    added_image_count: int
    top5_accuracy: float | None
    calibration_error: float | None
    class_accuracies: tuple[float | None, ...]


def run_of(document: Mapping[str, Any]) -> TrainedRun:
    """Returns what `asdict` made `document` of, which may have been JSON since."""
    accuracies = tuple(document["class_accuracies"])
    return TrainedRun(**{**document, "class_accuracies": accuracies})
