"""The calls that start runs, by the collection of the runs' names: the messages of each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message
from variegate.trainer.v1 import trainer_pb2 as pb

from trainer.messages import training_runs, tunings
from trainer.trainer import TrainingProgress


@dataclass(frozen=True)
class Call:
    """The messages of one call.

    `request` asks, `resource` is the run by its name, request and result (None until it has
    succeeded), `metadata` tells of its progress. The id of its operation is the run's after
    `operation_prefix`; that of no training run has a dot.
    """

    request: type[Message]
    resource: Callable[[str, Any, Any], Message]
    metadata: Callable[[TrainingProgress], Message]
    operation_prefix: str = ""

    def operation_id(self, run: str) -> str:
        """The id of the operation that makes a run."""
        return self.operation_prefix + run.partition("/")[2]


CALLS: Mapping[str, Call] = {
    "trainingRuns": Call(
        pb.CreateTrainingRunRequest, training_runs.run_to_pb, training_runs.metadata_to_pb
    ),
    "tunings": Call(
        pb.CreateTuningRequest, tunings.tuning_to_pb, tunings.tuning_metadata, "tuning."
    ),
}


def call_of(run: str) -> Call:
    """The call that starts a run, by the run's name."""
    return CALLS[run.partition("/")[0]]
