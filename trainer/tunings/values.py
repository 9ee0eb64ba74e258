"""The values of a tuning: what is asked for, what comes out, what the worker is told."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from trainer.runs import JobRequest, JobResult, JobSpec

# The fields of a spec that say how it is learned.
_RECIPE = (
    "method", "class_texts", "templates", "step_count", "epoch_step_count", "patience",
    "batch_size", "learning_rate", "seed", "cluster_count", "feature_digest", "rank", "code_digest",
)  # fmt: skip


@dataclass(frozen=True)
class TuningRequest(JobRequest):
    """What is learned of which images. The fields are those of the proto's Tuning.

    `step_count` is that of all epochs; it is filled in when the images are known.
    """

    method: str = ""
    model: str = ""
    model_digest: str = ""
    class_names: tuple[str, ...] = ()
    class_texts: tuple[str, ...] = ()
    templates: tuple[str, ...] = ()
    epoch_count: int = 0
    epoch_step_count: int = 0
    patience: int = 0
    cluster_count: int = 0
    feature_model: str = ""
    rank: int = 0


@dataclass(frozen=True)
class Learned:
    """One artefact: its file, what it is, and what it was learned of.

    `checkpoint` says after which epoch: "validation" is that of the lowest validation loss, "train"
    that of the lowest training loss, "epoch_1" and so on what they say. `image_count` are the
    images that it was trained on. `uri` is "" until it is in the store.
    """

    name: str
    sha256: str
    kind: str
    checkpoint: str
    class_name: str
    image_count: int
    word: str = ""
    uri: str = ""


@dataclass(frozen=True)
class TuningResult(JobResult):
    """What a tuning learned.

    Losses are means of squared differences, `base_validation_loss` that of the model before.
    `epoch_count` epochs were done, and `best_epoch` has the lowest validation loss, 0 if that is
    the model before. `notes` say what was cut or left out.
    """

    artefacts: tuple[Learned, ...]
    base_validation_loss: float
    validation_loss: float
    final_loss: float
    best_epoch: int
    epoch_count: int
    train_image_count: int
    validation_image_count: int
    seconds: float
    model_digest: str = ""
    data_digest: str = ""
    notes: tuple[str, ...] = ()
    metrics_uri: str = ""
    sources_uri: str = ""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        artefacts = tuple(Learned(**one) for one in values["artefacts"])
        return cls(**{**values, "artefacts": artefacts, "notes": tuple(values["notes"])})


@dataclass(frozen=True, kw_only=True)
class TuneSpec(JobSpec):
    """What the job "tune" is told. `folder` holds `rows.npz` (see `tunings.images`).

    `class_texts` are what prompts call the classes. The digests are those of the models.
    """

    field: ClassVar[str] = "tuning"
    of_machine: ClassVar[frozenset[str]] = JobSpec.of_machine | {"model_folder", "feature_folder"}

    job: str = "tune"
    method: str
    model_folder: str
    model_digest: str
    class_names: tuple[str, ...]
    class_texts: tuple[str, ...]
    templates: tuple[str, ...]
    image_size: int
    epoch_step_count: int
    patience: int
    cluster_count: int = 0
    feature_folder: str = ""
    feature_digest: str = ""
    rank: int = 0

    @property
    def epoch_count(self) -> int:
        """Epochs, at most."""
        return self.step_count // self.epoch_step_count

    def recipe_digest(self) -> str:
        """Stands for how it is learned, whatever from."""
        values = {name: getattr(self, name) for name in _RECIPE}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
