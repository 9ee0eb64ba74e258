"""The values of a run: what is asked for, what comes out, what the worker is told.

First those of every kind of run, then those of classifiers.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from trainer.classifiers.table import classifier_of
from trainer.scores import Scores, TestSetScores, scores_from
from trainer.searching.found import SearchSizes

# Which weights of a run are tested and kept.
LAST, BEST = "last", "best"


@dataclass(frozen=True)
class JobRequest:
    """What every kind of run is asked with. Each kind adds its own."""

    manifest_uri: str
    train_item_ids: tuple[str, ...] = ()
    step_count: int = 0
    batch_size: int = 0
    learning_rate: float = 0.0
    seed: int = 0
    node_count: int = 0
    gpus_per_node: int = 0

    @property
    def machines(self) -> int:
        """Machines that work on the run together."""
        return max(1, self.node_count)

    @property
    def processes(self) -> int:
        """Processes on each machine."""
        return max(1, self.gpus_per_node)

    def to_json(self) -> bytes:
        """Returns the request as JSON."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True).encode()

    @classmethod
    def of_json(cls, data: bytes) -> Self:
        """Reads what `to_json` wrote."""
        return cls(**_with_tuples(json.loads(data)))


@dataclass(frozen=True)
class JobResult:
    """What comes out of every kind of run. Each kind adds its own."""

    def to_json(self) -> bytes:
        """Returns the result as JSON."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True).encode()

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Returns the result of plain values, as `dataclasses.asdict` gives them."""
        return cls(**_with_tuples(values))

    @classmethod
    def of_json(cls, data: bytes) -> Self:
        """Reads what `to_json` wrote."""
        return cls.of(json.loads(data))


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """All that a worker process needs, in one JSON file; it reads local files and nothing else.

    `job` is the kind of job, by its file in `jobs`. What the job reads lies in `folder`, and so
    does what comes out, and `checkpoint.safetensors`. `data_digest` stands for the content of all
    that it reads, `code_digest` for the code that trains. `field` is what requests call the run,
    and `of_machine` are the fields that nothing of what is learned depends on.
    """

    field: ClassVar[str] = "training_run"
    of_machine: ClassVar[frozenset[str]] = frozenset(
        {"folder", "threads", "checkpoint_seconds", "device", "loaders", "export_onnx"}
    )

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
        values = {k: v for k, v in dataclasses.asdict(self).items() if k not in self.of_machine}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    def write(self, path: Path) -> None:
        """Writes the spec as JSON."""
        path.write_text(json.dumps(dataclasses.asdict(self)), encoding="utf-8")

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Returns the spec of the values that `write` wrote."""
        return cls(**_with_tuples(values))


@dataclass(frozen=True)
class TestSet:
    """Images that a classifier is tested on besides the dataset's own test images."""

    name: str
    manifest_uri: str


@dataclass(frozen=True)
class RunRequest(JobRequest):
    """What a classifier trains on and how. The fields are those of the proto's TrainingRun."""

    synthetic_manifest_uri: str = ""
    strategy: str = ""
    policy: str = ""
    classifier: str = ""
    image_size: int = 0
    test_sets: tuple[TestSet, ...] = ()
    initial_weights_uri: str = ""
    freeze: bool = False
    validation: bool = False
    export_onnx: bool = False
    schedule: str = ""
    choose: str = ""
    search: SearchSizes = field(default_factory=SearchSizes)
    """How much is searched for a policy; `found_policy` is the name of that search, "" for none."""
    found_policy: str = ""

    @classmethod
    def of_json(cls, data: bytes) -> Self:
        values = _with_tuples(json.loads(data))
        test_sets = tuple(TestSet(**one) for one in values.get("test_sets", ()))
        search = SearchSizes(**values.get("search", {}))
        return cls(**{**values, "test_sets": test_sets, "search": search})


@dataclass(frozen=True)
class RunResult(JobResult, Scores):
    """The test results of a finished run: scores on the dataset's test images, and more.

    `final_loss` is the mean training loss of the last 50 steps.
    """

    real_image_count: int
    synthetic_image_count: int
    seconds: float
    final_loss: float
    weights_uri: str = ""
    card_uri: str = ""
    metrics_uri: str = ""
    predictions_uri: str = ""
    test_sets: tuple[TestSetScores, ...] = ()
    policy_uri: str = ""
    policy_digest: str = ""
    """Of a policy that was searched for: the SHA-256 of the file at `policy_uri`."""
    validation: TestSetScores | None = None
    """Scores on the images to choose by; None without any."""
    onnx_uri: str = ""
    onnx_failure: str = ""
    """Why a classifier that was to be exported is not, in a sentence."""
    done_step_count: int = 0
    chosen_step: int = 0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    """How pixels in 0 to 1 were normalised, by channel."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        sets = tuple(TestSetScores(**scores_from(one)) for one in values.get("test_sets", ()))
        kept = values.get("validation")
        validation = TestSetScores(**scores_from(kept)) if kept else None
        return cls(
            **_with_tuples(scores_from(values)) | {"test_sets": sets, "validation": validation}
        )


@dataclass(frozen=True, kw_only=True)
class RunSpec(JobSpec):
    """What the job "classify" is told. `folder` holds `rows.npz` (see `data.samples`)."""

    job: str = "classify"
    class_names: tuple[str, ...]
    strategy: str
    policy: str
    classifier: str
    image_size: int
    initial_weights: str = ""
    """The SHA-256 of the file `initial.safetensors` of the folder; "" is without."""
    freeze: bool = False
    precision: str = "float32"
    found_policy: str = ""
    """The SHA-256 of the file `policy.json` of the folder; "" for a policy that is not searched."""
    export_onnx: bool = False
    schedule: str = ""
    choose: str = LAST

    @property
    def validates(self) -> bool:
        """Whether something is decided by the images of the split "validation"."""
        return bool(self.schedule) or self.choose == BEST

    def card(self) -> dict[str, object]:
        """What is needed to use the weights, and the recipe that they come from."""
        names = ["strategy", "policy", "step_count", "batch_size", "learning_rate", "precision"]
        names += ["schedule", "choose"] if self.validates else []
        if self.initial_weights:
            names += ["initial_weights", "freeze"]
        if self.found_policy:
            names.append("found_policy")
        classifier = classifier_of(self.classifier)
        return {
            "classifier": self.classifier,
            "library": classifier.library,
            "network": {"name": classifier.network, **classifier.arguments},
            "class_names": self.class_names,
            "image_size": self.image_size,
            # Of pixels in 0 to 1, in the words of torchvision's Normalize.
            "normalisation": {"mean": classifier.mean, "std": classifier.std},
            # A seed is text, since many readers of JSON round numbers of 64 bits.
            "recipe": {name: getattr(self, name) for name in names} | {"seed": str(self.seed)},
            "data_digest": self.data_digest,
            "code_digest": self.code_digest,
        }


@dataclass(frozen=True)
class SearchResult(JobResult):
    """What a search for a policy comes to: `lowest_loss` is the best trial's."""

    sub_policy_count: int
    lowest_loss: float
    seconds: float
    policy_uri: str = ""
    metrics_uri: str = ""


@dataclass(frozen=True, kw_only=True)
class SearchSpec(RunSpec):
    """What the job "search" is told. Its images are those of a run, of which real ones are used."""

    job: str = "search"
    sizes: SearchSizes

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        return super().of({**values, "sizes": SearchSizes(**values["sizes"])})


def _with_tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with tuples in place of the lists that JSON knows."""
    return {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
