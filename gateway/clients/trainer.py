"""The trainer: one classifier from a dataset and, maybe, synthetic images."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import grpc
from google.longrunning import operations_pb2, operations_pb2_grpc
from variegate.trainer.v1 import trainer_pb2 as pb
from variegate.trainer.v1 import trainer_pb2_grpc as rpc

from gateway.api.resources import TrainingRecipe
from gateway.clients.channel import LazyChannel
from gateway.clients.operations import finish
from gateway.clients.patience import patiently
from gateway.settings import GatewaySettings
from servicekit.tls.certificates import Certificates

_CANCEL_SECONDS = 10.0
_LAST = "last"  # TrainingRun.choose, filled in.
_log = logging.getLogger(__name__)

# Is told the steps of a run: done, and all.
OnSteps = Callable[[int, int], None]


@dataclass(frozen=True)
class TrainingRequest:
    """A classifier to train and test. An empty `synthetic_uri` means real images only.

    With `validation` it is tested on the images to choose by as well.
    """

    run_id: str
    manifest_uri: str
    synthetic_uri: str
    strategy: str
    recipe: TrainingRecipe
    seed: int
    # Name and manifest of each further test set.
    test_sets: tuple[tuple[str, str], ...] = ()
    validation: bool = field(default=False, kw_only=True)


@dataclass(frozen=True)
class SetScore:
    """What a classifier came to on a further test set. The accuracy is a share from 0 to 1."""

    accuracy: float
    image_count: int


@dataclass(frozen=True)
class Tested:
    """Test results. Accuracies are shares from 0 to 1. `recipe` has the defaults filled in.

    The accuracy of a class without test images is None, as is that on images to choose by where
    there are none. `done_steps` were taken, and the weights after `chosen_step` of them tested;
    both are 0 in results of before. `name` is that of the training run, "trainingRuns/ID", and
    `metrics_uri` its curve; both are empty in results of before.
    """

    accuracy: float
    class_accuracies: dict[str, float | None] = field(default_factory=dict)
    real_image_count: int = 0
    synthetic_image_count: int = 0
    test_image_count: int = 0
    seconds: float = 0.0
    recipe: TrainingRecipe = field(default_factory=TrainingRecipe)
    validation_accuracy: float | None = None
    test_sets: dict[str, SetScore] = field(default_factory=dict)
    done_steps: int = 0
    chosen_step: int = 0
    name: str = ""
    metrics_uri: str = ""
    top5_accuracy: float | None = None
    calibration_error: float | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Tested":
        """Returns the results of what `asdict` made of them."""
        sets = {name: SetScore(**one) for name, one in values.get("test_sets", {}).items()}
        return cls(**{**values, "recipe": TrainingRecipe(**values["recipe"]), "test_sets": sets})


@dataclass(frozen=True)
class TrainingPlan:
    """What a classifier would take: its recipe with the defaults filled in, and the pace so far."""

    recipe: TrainingRecipe
    images_per_second: float
    measured_count: int


class Trainer:
    """Calls of the trainer."""

    def __init__(self, settings: GatewaySettings, certificates: Certificates | None) -> None:
        service = pb.DESCRIPTOR.services_by_name["TrainerService"]
        self._channel = LazyChannel(settings.trainer, certificates, service)
        self._settings = settings

    @cached_property
    def _stub(self) -> rpc.TrainerServiceStub:
        return rpc.TrainerServiceStub(self._channel.open())

    @cached_property
    def _operations(self) -> operations_pb2_grpc.OperationsStub:
        return operations_pb2_grpc.OperationsStub(self._channel.open())

    async def recipes(self) -> pb.ListRecipesResponse:
        """Returns what a run can name: strategies, policies, classifiers."""
        request = pb.ListRecipesRequest()
        return await patiently(
            lambda: self._stub.ListRecipes(request, timeout=30),
            self._settings.patience_seconds,
            "trainer",
        )

    async def code_digest(self) -> str:
        """Returns what stands for code and kind of device: with others results may be others."""
        answer = await self.recipes()
        return f"{answer.code_digest} {answer.device}".strip()

    async def plan(self, wanted: TrainingRequest, planned_count: int) -> TrainingPlan:
        """Returns what a training run would take, with so many images added that are not made yet.

        Raises the ServiceError that training it would: InvalidArgument, or Precondition if its
        images can never fit into the trainer's cache.
        """
        request = pb.PlanTrainingRunRequest(
            training_run=_run_to_pb(wanted), planned_image_count=planned_count
        )
        plan = await patiently(
            lambda: self._stub.PlanTrainingRun(request, timeout=60),
            self._settings.patience_seconds,
            "trainer",
        )
        recipe = _recipe(plan.training_run)
        return TrainingPlan(recipe, plan.images_per_second, plan.measured_image_count)

    async def train(self, wanted: TrainingRequest, on_steps: OnSteps) -> Tested:
        """Trains and tests a classifier; says how many steps are done, and of how many.

        Raises ServiceError.
        """

        def look(operation: operations_pb2.Operation) -> None:
            progress = pb.CreateTrainingRunMetadata()
            if operation.metadata.Unpack(progress):
                if progress.total_search_step_count:  # what comes before the run's first step
                    on_steps(progress.done_search_step_count, progress.total_search_step_count)
                else:
                    on_steps(progress.done_step_count, progress.total_step_count)

        request = pb.CreateTrainingRunRequest(
            training_run_id=wanted.run_id, training_run=_run_to_pb(wanted)
        )
        done = await finish(
            self._operations,
            lambda: self._stub.CreateTrainingRun(request, timeout=60),
            service="trainer",
            patience_seconds=self._settings.patience_seconds,
            look=look,
        )
        finished = pb.TrainingRun()
        done.response.Unpack(finished)
        result = finished.result
        return Tested(
            accuracy=result.accuracy,
            class_accuracies={
                one.class_name: one.accuracy if one.HasField("accuracy") else None
                for one in result.classes
            },
            real_image_count=result.real_image_count,
            synthetic_image_count=result.synthetic_image_count,
            test_image_count=result.test_image_count,
            seconds=result.seconds,
            recipe=_recipe(finished),
            validation_accuracy=(
                result.validation.accuracy if result.HasField("validation") else None
            ),
            test_sets={
                one.name: SetScore(one.accuracy, one.test_image_count) for one in result.test_sets
            },
            done_steps=result.done_step_count,
            chosen_step=result.chosen_step,
            name=finished.name,
            metrics_uri=result.metrics_uri,
            **{
                name: getattr(result, name)
                for name in ("top5_accuracy", "calibration_error")
                if result.HasField(name)
            },
        )

    async def cancel(self, run_id: str) -> None:
        """Stops a training run, if the trainer can be reached and knows it."""
        request = operations_pb2.CancelOperationRequest(name=f"operations/trainer-{run_id}")
        try:
            await self._operations.CancelOperation(request, timeout=_CANCEL_SECONDS)
        except grpc.aio.AioRpcError as error:
            _log.warning("training run %s was not cancelled: %s", run_id, error.details())

    async def close(self) -> None:
        await self._channel.close()


def _run_to_pb(wanted: TrainingRequest) -> pb.TrainingRun:
    return pb.TrainingRun(
        manifest_uri=wanted.manifest_uri,
        synthetic_manifest_uri=wanted.synthetic_uri,
        strategy=wanted.strategy,
        seed=wanted.seed,
        validation=wanted.validation,
        test_sets=[pb.TestSet(name=name, manifest_uri=uri) for name, uri in wanted.test_sets],
        **vars(wanted.recipe),
    )


def _recipe(run: pb.TrainingRun) -> TrainingRecipe:
    return TrainingRecipe(
        policy=run.policy,
        classifier=run.classifier,
        step_count=run.step_count,
        batch_size=run.batch_size,
        learning_rate=float(f"{run.learning_rate:.7g}"),  # The shortest text of a float32.
        image_size=run.image_size,
        node_count=run.node_count,
        gpus_per_node=run.gpus_per_node,
        initial_weights_uri=run.initial_weights_uri,
        freeze=run.freeze,
        schedule=run.schedule,
        choose="" if run.choose == _LAST else run.choose,  # What all have is not said.
    )
