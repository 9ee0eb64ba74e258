"""Messages of tunings."""

from typing import Any

from variegate.artefacts.v1 import artefacts_pb2 as artefacts
from variegate.trainer.v1 import trainer_pb2 as pb

from trainer.trainer import TrainingProgress
from trainer.tunings.methods import METHODS
from trainer.tunings.values import Learned, TuningRequest, TuningResult

# Fields that are called alike in the message and the request.
_LISTS = ("train_item_ids", "class_names", "class_texts", "templates")
_VALUES = (
    "manifest_uri", "method", "model", "model_digest", "epoch_count",
    "epoch_step_count", "patience", "batch_size",
    "learning_rate", "seed", "cluster_count", "feature_model", "rank", "node_count",
    "gpus_per_node",
)  # fmt: skip
_OF_RESULT = (
    "base_validation_loss", "validation_loss", "final_loss", "best_epoch", "epoch_count",
    "train_image_count", "validation_image_count", "seconds", "model_digest", "data_digest",
    "notes", "metrics_uri", "sources_uri",
)  # fmt: skip


def tuning_request(tuning: pb.Tuning) -> TuningRequest:
    """What a proto tuning asks for."""
    values: dict[str, Any] = {name: tuple(getattr(tuning, name)) for name in _LISTS}
    return TuningRequest(**values, **{name: getattr(tuning, name) for name in _VALUES})


def tuning_to_pb(name: str, request: TuningRequest, result: TuningResult | None) -> pb.Tuning:
    """The proto tuning of a request, and of its result once there is one."""
    values = {field: getattr(request, field) for field in (*_LISTS, *_VALUES)}
    learned = None if result is None else _result_to_pb(result)
    return pb.Tuning(name=name, **values, result=learned)


def tuning_metadata(step: TrainingProgress) -> pb.CreateTuningMetadata:
    """The proto of progress."""
    return pb.CreateTuningMetadata(
        done_step_count=step.done,
        total_step_count=step.total,
        images_per_second=step.images_per_second,
    )


def methods_to_pb() -> list[pb.Recipe]:
    """The protos of all methods."""
    return [
        pb.Recipe(id=method.id, description=method.description, source=method.source)
        for method in METHODS.values()
    ]


def _result_to_pb(result: TuningResult) -> pb.TuningResult:
    values = {name: getattr(result, name) for name in _OF_RESULT}
    return pb.TuningResult(artefacts=map(_learned_to_pb, result.artefacts), **values)


def _learned_to_pb(learned: Learned) -> pb.TunedArtefact:
    kind = f"ARTEFACT_KIND_{learned.kind.upper()}"
    return pb.TunedArtefact(
        artefact=artefacts.Artefact(uri=learned.uri, sha256=learned.sha256, kind=kind),
        checkpoint=learned.checkpoint,
        class_name=learned.class_name,
        image_count=learned.image_count,
        word=learned.word,
    )
