"""Training runs from the command line: one per seed, each waited for with progress."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from google.longrunning import operations_pb2, operations_pb2_grpc
from variegate.trainer.v1 import trainer_pb2 as pb
from variegate.trainer.v1 import trainer_pb2_grpc

from gateway.cli.inputs import named_digest
from gateway.cli.progress import clock, training_line
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
    node_count: int = 0
    gpus_per_node: int = 0
    initial_weights_uri: str = ""
    freeze: bool = False
    test_sets: tuple[dict[str, str], ...] = ()
    validation: bool = False
    export_onnx: bool = False
    schedule: str = ""
    choose: str = ""

    def plain(self) -> dict[str, Any]:
        """The lesson by name, as ids have it: newer fields count where they are set."""
        newer = (
            "node_count", "gpus_per_node", "initial_weights_uri", "freeze", "test_sets",
            "validation", "schedule", "choose",
            "export_onnx",
        )  # fmt: skip
        return {name: value for name, value in vars(self).items() if value or name not in newer}


class EachRun(Protocol):
    """Is called with each run that has finished, before the next one starts."""

    async def __call__(self, run: pb.TrainingRun, /) -> None: ...


async def train(
    session: Session,
    lesson: Lesson,
    plan: pb.PlanTrainingRunResponse,
    seeds: int,
    each: EachRun | None = None,
) -> list[pb.TrainingRun]:
    """Trains with the seeds 0 to `seeds` - 1, one after the other. `plan` is that of the lesson."""
    session.view.say(_plan_line(plan, seeds))
    async with _opened(session) as channel:
        code = code_of(await _recipes(session, channel))
        runs = []
        for seed in range(seeds):
            request = _request(lesson, seed, code)
            runs.append(await _train(session, channel, request, plan.training_run))
            if each:
                await each(runs[-1])
        return runs


async def plan_of(session: Session, lesson: Lesson) -> pb.PlanTrainingRunResponse:
    """What training a lesson takes. Raises the ServiceError that training it would."""
    async with _opened(session) as channel:
        stub: Any = trainer_pb2_grpc.TrainerServiceStub(channel)
        request = pb.PlanTrainingRunRequest(training_run=pb.TrainingRun(**vars(lesson)))
        plan: pb.PlanTrainingRunResponse = await session.call(stub.PlanTrainingRun, request)
        return plan


async def recipes_of(session: Session) -> pb.ListRecipesResponse:
    """What the trainer can be asked for."""
    async with _opened(session) as channel:
        return await _recipes(session, channel)


def code_of(offered: pb.ListRecipesResponse) -> str:
    """What trains: the code and the kind of device."""
    return f"{offered.code_digest} {offered.device}".strip()


@asynccontextmanager
async def _opened(session: Session) -> AsyncIterator[Any]:
    certificates = session.connection.certificates
    target = session.connection.need_trainer()
    channel = open_channel(target, _SERVICE, certificates=certificates)
    try:
        yield channel
    finally:
        await channel.close()


async def _recipes(session: Session, channel: Any) -> pb.ListRecipesResponse:
    stub: Any = trainer_pb2_grpc.TrainerServiceStub(channel)
    return await session.call(stub.ListRecipes, pb.ListRecipesRequest())


def _request(lesson: Lesson, seed: int, code: str) -> pb.CreateTrainingRunRequest:
    strategy = lesson.strategy or ("combined" if lesson.synthetic_manifest_uri else "real")
    return pb.CreateTrainingRunRequest(
        training_run_id=named_digest(f"cli-{strategy}", [lesson.plain(), seed, code]),
        training_run=pb.TrainingRun(**vars(lesson), seed=seed),
    )


async def _train(
    session: Session, channel: Any, request: pb.CreateTrainingRunRequest, planned: pb.TrainingRun
) -> pb.TrainingRun:
    stub: Any = trainer_pb2_grpc.TrainerServiceStub(channel)
    operation = await session.call(stub.CreateTrainingRun, request)
    title = f"train {planned.strategy}, seed {request.training_run.seed}"

    def show(operation: operations_pb2.Operation) -> None:
        progress = pb.CreateTrainingRunMetadata()
        if operation.metadata.Unpack(progress):
            session.view.show(training_line(progress, title, planned.batch_size))

    done = await wait(operations_pb2_grpc.OperationsStub(channel), operation, session.view, show)
    run = pb.TrainingRun()
    done.response.Unpack(run)
    return run


def _plan_line(plan: pb.PlanTrainingRunResponse, seeds: int) -> str:
    """Says what runs are trained with, which the trainer has filled in, and how long it takes."""
    run = plan.training_run
    text = f"training {run.strategy}: {recipe_line(settings_of(run))}"
    if plan.images_per_second:
        seconds = seeds * run.step_count * run.batch_size / plan.images_per_second
        text += f"; about {clock(seconds)} at {plan.images_per_second:.3g} images/s"
    return text


def settings_of(run: pb.TrainingRun) -> dict[str, Any]:
    """How a run is trained, for people and --json."""
    newer = ("node_count", "gpus_per_node", "initial_weights_uri", "freeze", "schedule")
    return {
        "classifier": run.classifier,
        "policy": run.policy,
        "step_count": run.step_count,
        "batch_size": run.batch_size,
        "learning_rate": float(f"{run.learning_rate:.7g}"),
        "image_size": run.image_size,
        **{name: getattr(run, name) for name in newer if getattr(run, name)},
        **({"choose": run.choose} if run.choose == "best" else {}),
        **_normalisation(run.result),
        **({"found_policy": run.result.policy_digest} if run.result.policy_digest else {}),
    }


def _normalisation(result: pb.TestResult) -> dict[str, Any]:
    if not result.HasField("normalisation"):
        return {}
    mean, std = (
        [float(f"{value:.7g}") for value in values]
        for values in (result.normalisation.mean, result.normalisation.std)
    )
    return {"normalisation": {"mean": mean, "std": std}}


def recipe_line(training: dict[str, Any]) -> str:
    """The settings of a run in one line."""
    side = training["image_size"]
    line = (
        f"{training['classifier']}, {training['policy']}, {training['step_count']:,} steps of "
        f"{training['batch_size']} images at {side} x {side} pixels, learning rate "
        f"{training['learning_rate']:g}"
    )
    line += chosen(training.get("schedule", ""), training.get("choose", ""))
    if training.get("initial_weights_uri"):
        line += ", the last layer alone" if training.get("freeze") else ""
        line += f", from {training['initial_weights_uri']}"
    return line + machines(training.get("node_count", 0), training.get("gpus_per_node", 0))


def chosen(schedule: str, choose: str) -> str:
    """What validation images decide, for a line; "" for nothing."""
    text = f", schedule {schedule}, which may end it earlier" if schedule else ""
    return text + (f", {choose} weights of the validation images" if choose == "best" else "")


def machines(node_count: int, gpus_per_node: int) -> str:
    """What trains together, for the end of a line; "" where it was not asked for."""
    text = f" on {node_count} machines" if node_count > 1 else ""
    if gpus_per_node:
        text += f" with {gpus_per_node} GPU{'s' if gpus_per_node > 1 else ''}"
        text += " each" if node_count > 1 else ""
    return text
