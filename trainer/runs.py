"""The values of a training run: what is asked for, what comes out, what the worker is told."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import fsum
from pathlib import Path
from typing import Any, Self

from trainer.classifiers.table import classifiers


@dataclass(frozen=True)
class RunRequest:
    """What a run trains on and how. The fields are those of the proto's TrainingRun."""

    manifest_uri: str
    train_item_ids: tuple[str, ...] = ()
    synthetic_manifest_uri: str = ""
    strategy: str = ""
    policy: str = ""
    classifier: str = ""
    step_count: int = 0
    batch_size: int = 0
    learning_rate: float = 0.0
    seed: int = 0
    image_size: int = 0
    node_count: int = 0
    gpus_per_node: int = 0

    @property
    def machines(self) -> int:
        """Machines that train the run together."""
        return max(1, self.node_count)

    @property
    def processes(self) -> int:
        """Processes on each machine."""
        return max(1, self.gpus_per_node)


@dataclass(frozen=True)
class ClassScore:
    """The test result of one class; `accuracy` is a share, 0 to 1, or None without test images."""

    class_name: str
    accuracy: float | None
    test_image_count: int


@dataclass(frozen=True)
class RunResult:
    """The test results of a finished run.

    `confusion[i][j]` counts the test images of class i that were taken for class j, in the order
    of `classes`. `final_loss` is the mean training loss of the last 50 steps.
    """

    accuracy: float
    classes: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    real_image_count: int
    synthetic_image_count: int
    test_image_count: int
    seconds: float
    final_loss: float
    weights_uri: str = ""
    card_uri: str = ""
    metrics_uri: str = ""
    predictions_uri: str = ""

    @property
    def balanced_accuracy(self) -> float:
        """The mean accuracy of the classes that have test images."""
        known = [score.accuracy for score in self.classes if score.accuracy is not None]
        return fsum(known) / len(known)


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """All that a worker process needs, in one JSON file; it reads local files and nothing else.

    `job` is the kind of job, by its file in `jobs`. What the job reads lies in `folder`, and so
    does what comes out, and `checkpoint.safetensors`. `data_digest` stands for the content of all
    that it reads, `code_digest` for the code that trains.
    """

    job: str
    folder: str
    data_digest: str
    step_count: int
    batch_size: int
    learning_rate: float
    seed: int
    threads: int
    checkpoint_seconds: float
    code_digest: str = ""
    device: str = "auto"
    loaders: int = 0  # processes that decode and change images; 0: as many as are worth it

    def digest(self) -> str:
        """Stands for everything that the trained weights depend on; a checkpoint must match it."""
        ignored = {"folder", "threads", "checkpoint_seconds", "device", "loaders"}
        values = {k: v for k, v in dataclasses.asdict(self).items() if k not in ignored}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    def write(self, path: Path) -> None:
        """Writes the spec as JSON."""
        path.write_text(json.dumps(dataclasses.asdict(self)), encoding="utf-8")

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Returns the spec of the values that `write` wrote."""
        lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
        return cls(**{**values, **lists})


@dataclass(frozen=True, kw_only=True)
class RunSpec(JobSpec):
    """What the job "classify" is told. `folder` holds `rows.npz` (see `data.samples`)."""

    job: str = "classify"
    class_names: tuple[str, ...]
    strategy: str
    policy: str
    classifier: str
    image_size: int

    def card(self) -> dict[str, object]:
        """What is needed to use the weights, and the recipe that they come from."""
        recipe = ("strategy", "policy", "step_count", "batch_size", "learning_rate")
        classifier = classifiers()[self.classifier]
        return {
            "classifier": self.classifier,
            "library": classifier.library,
            "network": {"name": classifier.network, **classifier.arguments},
            "class_names": self.class_names,
            "image_size": self.image_size,
            # Of pixels in 0 to 1, in the words of torchvision's Normalize.
            "normalisation": {"mean": classifier.mean, "std": classifier.std},
            # A seed is text, since many readers of JSON round numbers of 64 bits.
            "recipe": {name: getattr(self, name) for name in recipe} | {"seed": str(self.seed)},
            "data_digest": self.data_digest,
            "code_digest": self.code_digest,
        }


def request_to_json(request: RunRequest) -> bytes:
    """Returns the request as JSON."""
    return json.dumps(dataclasses.asdict(request), sort_keys=True).encode()


def request_from_json(data: bytes) -> RunRequest:
    """Reads what `request_to_json` wrote."""
    values = json.loads(data)
    return RunRequest(**{**values, "train_item_ids": tuple(values["train_item_ids"])})


def result_to_json(result: RunResult) -> bytes:
    """Returns the result as JSON."""
    return json.dumps(dataclasses.asdict(result), sort_keys=True).encode()


def result_from_json(data: bytes) -> RunResult:
    """Reads what `result_to_json` wrote."""
    return result_from_plain(json.loads(data))


def result_from_plain(values: Mapping[str, Any]) -> RunResult:
    """Returns the result of plain values, as `dataclasses.asdict` gives them."""
    classes = tuple(_score(**score) for score in values["classes"])
    confusion = tuple(tuple(row) for row in values["confusion"])
    return RunResult(**{**values, "classes": classes, "confusion": confusion})


def _score(class_name: str, accuracy: float | None, test_image_count: int) -> ClassScore:
    # Results of older versions have 0 for a class without test images.
    return ClassScore(class_name, accuracy if test_image_count else None, test_image_count)
