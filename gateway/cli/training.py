"""Training runs from the command line: one per seed, each waited for with progress."""

from dataclasses import dataclass
from typing import Any

from google.longrunning import operations_pb2, operations_pb2_grpc
from variegate.trainer.v1 import trainer_pb2 as pb
from variegate.trainer.v1 import trainer_pb2_grpc

from gateway.cli.inputs import named_digest
from gateway.cli.progress import Step
from gateway.cli.session import Session, wait
from servicekit.channels import open_channel

_SERVICE = pb.DESCRIPTOR.services_by_name["TrainerService"]


@dataclass(frozen=True)
class Lesson:
    """What to train on and how; everything but the seed."""

    manifest_uri: str
    synthetic_manifest_uri: str = ""
    strategy: str = ""
    policy: str = ""
    classifier: str = ""
    step_count: int = 0
    batch_size: int = 0
    learning_rate: float = 0.0
    image_size: int = 0


async def train(session: Session, lesson: Lesson, seeds: int) -> list[pb.TrainingRun]:
    """Trains with the seeds 0 to `seeds` - 1, one after the other."""
    channel = open_channel(session.connection.need_trainer(), _SERVICE)
    try:
        code = (await _recipes(session, channel)).code_digest
        return [await _train(session, channel, lesson, seed, code) for seed in range(seeds)]
    finally:
        await channel.close()


async def recipes_of(session: Session) -> pb.ListRecipesResponse:
    """What the trainer can be asked for."""
    channel = open_channel(session.connection.need_trainer(), _SERVICE)
    try:
        return await _recipes(session, channel)
    finally:
        await channel.close()


async def _recipes(session: Session, channel: Any) -> pb.ListRecipesResponse:
    stub: Any = trainer_pb2_grpc.TrainerServiceStub(channel)
    return await session.call(stub.ListRecipes, pb.ListRecipesRequest())


async def _train(
    session: Session, channel: Any, lesson: Lesson, seed: int, code: str
) -> pb.TrainingRun:
    stub: Any = trainer_pb2_grpc.TrainerServiceStub(channel)
    strategy = lesson.strategy or ("combined" if lesson.synthetic_manifest_uri else "real")
    request = pb.CreateTrainingRunRequest(
        training_run_id=named_digest(f"cli-{strategy}", [vars(lesson), seed, code]),
        training_run=pb.TrainingRun(**vars(lesson), seed=seed),
    )
    operation = await session.call(stub.CreateTrainingRun, request)
    title = f"train {strategy}, seed {seed}"

    def show(operation: operations_pb2.Operation) -> None:
        progress = pb.CreateTrainingRunMetadata()
        if operation.metadata.Unpack(progress):
            done, total = progress.done_step_count, progress.total_step_count
            session.view.show(Step(title, done, total, unit="steps"))

    done = await wait(operations_pb2_grpc.OperationsStub(channel), operation, session.view, show)
    run = pb.TrainingRun()
    done.response.Unpack(run)
    return run
