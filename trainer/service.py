"""Serves the trainer over gRPC. Translates; the trainer thinks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import grpc
from google.longrunning import operations_pb2
from variegate.trainer.v1 import trainer_pb2 as pb
from variegate.trainer.v1 import trainer_pb2_grpc as rpc

from servicekit.errors import InvalidArgument, NotFound
from servicekit.operations import OperationRunner, Progress, Work
from trainer import recipes
from trainer.classifiers.table import classifiers
from trainer.defaults import resolve, smallest_image
from trainer.identity import training_digest
from trainer.runs import RunRequest, RunResult
from trainer.trainer import Step, Trainer

_PREFIX = "trainingRuns/"
_PAGE_SIZE = 100


class TrainerService(rpc.TrainerServiceServicer):
    """Training runs as operations."""

    def __init__(self, trainer: Trainer, runner: OperationRunner) -> None:
        self._trainer = trainer
        self._runner = runner

    async def CreateTrainingRun(
        self, request: pb.CreateTrainingRunRequest, context: grpc.aio.ServicerContext
    ) -> operations_pb2.Operation:
        run_id = request.training_run_id
        wanted = resolve(request_from_pb(request.training_run))
        wanted = await self._trainer.admit(run_id, wanted, request.SerializeToString())
        operation = await self._runner.start(run_id, request, self._work(run_id, wanted))
        await asyncio.sleep(0)  # the work has begun, so the run can be watched from now on
        return operation

    async def go_on(self) -> None:
        """Follows the runs that an earlier trainer started, where their operations are not done.

        So these can be watched, cancelled and waited for as if there had been no other trainer.
        """
        for run_id in await self._trainer.found():
            known = await asyncio.to_thread(self._trainer.history.call, run_id)
            wanted = await asyncio.to_thread(self._trainer.history.request, run_id)
            if known is None or wanted is None:
                continue  # It is of another store.
            with suppress(NotFound):
                if not (await self._runner.get(f"operations/trainer-{run_id}")).done:
                    request = pb.CreateTrainingRunRequest.FromString(known)
                    work = self._work(run_id, wanted, is_found=True)
                    await self._runner.start(run_id, request, work)

    def _work(self, run_id: str, wanted: RunRequest, *, is_found: bool = False) -> Work:
        async def work(progress: Progress) -> pb.TrainingRun:
            def on_step(step: Step) -> None:
                progress.update(metadata_to_pb(step))

            result = await self._trainer.train(run_id, wanted, on_step, is_found=is_found)
            return run_to_pb(run_id, wanted, result)

        return work

    async def PlanTrainingRun(
        self, request: pb.PlanTrainingRunRequest, context: grpc.aio.ServicerContext
    ) -> pb.PlanTrainingRunResponse:
        planned = request.planned_image_count
        if planned and request.training_run.synthetic_manifest_uri:
            raise InvalidArgument(
                "planned_image_count is in place of training_run.synthetic_manifest_uri; give one",
                field="planned_image_count",
            )
        wanted = resolve(request_from_pb(request.training_run), planned)
        plan = await self._trainer.plan(wanted, planned)
        return pb.PlanTrainingRunResponse(
            training_run=run_to_pb("", plan.request, None),
            cache_byte_count=plan.cache_bytes,
            images_per_second=plan.pace.per_second,
            measured_image_count=round(plan.pace.images),
        )

    async def GetTrainingRun(
        self, request: pb.GetTrainingRunRequest, context: grpc.aio.ServicerContext
    ) -> pb.TrainingRun:
        return await self._get(request.name.removeprefix(_PREFIX))

    async def ListTrainingRuns(
        self, request: pb.ListTrainingRunsRequest, context: grpc.aio.ServicerContext
    ) -> pb.ListTrainingRunsResponse:
        ids = await asyncio.to_thread(lambda: list(self._trainer.history.ids()))
        if request.page_token and request.page_token not in ids:
            raise InvalidArgument(
                "page_token is not from this list; start again without one", field="page_token"
            )
        ids = [run_id for run_id in ids if run_id > request.page_token]
        size = request.page_size or _PAGE_SIZE
        return pb.ListTrainingRunsResponse(
            training_runs=[await self._get(run_id) for run_id in ids[:size]],
            next_page_token=ids[size - 1] if len(ids) > size else "",
        )

    async def WatchMetrics(
        self, request: pb.WatchMetricsRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[pb.WatchMetricsResponse]:
        run_id = request.training_run.removeprefix(_PREFIX)
        async for metrics in self._trainer.watch(run_id, request.after_step):
            yield pb.WatchMetricsResponse(step=metrics.step, values=metrics.values)

    async def ListRecipes(
        self, request: pb.ListRecipesRequest, context: grpc.aio.ServicerContext
    ) -> pb.ListRecipesResponse:
        return pb.ListRecipesResponse(
            strategies=_recipes_to_pb("strategies"),
            policies=_recipes_to_pb("policies"),
            classifiers=_classifiers_to_pb(),
            code_digest=training_digest(),
            device=await self._trainer.device_kind(),
        )

    async def _get(self, run_id: str) -> pb.TrainingRun:
        request, result = await asyncio.to_thread(self._trainer.history.get, run_id)
        return run_to_pb(run_id, request, result)


def request_from_pb(run: pb.TrainingRun) -> RunRequest:
    """What a proto run asks for."""
    return RunRequest(
        manifest_uri=run.manifest_uri,
        train_item_ids=tuple(run.train_item_ids),
        synthetic_manifest_uri=run.synthetic_manifest_uri,
        strategy=run.strategy,
        policy=run.policy,
        classifier=run.classifier,
        step_count=run.step_count,
        batch_size=run.batch_size,
        learning_rate=run.learning_rate,
        seed=run.seed,
        image_size=run.image_size,
        node_count=run.node_count,
        gpus_per_node=run.gpus_per_node,
    )


def run_to_pb(run_id: str, request: RunRequest, result: RunResult | None) -> pb.TrainingRun:
    """The proto run of a request, and of its result once there is one; without an id no name."""
    return pb.TrainingRun(
        name=_PREFIX + run_id if run_id else "",
        manifest_uri=request.manifest_uri,
        train_item_ids=request.train_item_ids,
        synthetic_manifest_uri=request.synthetic_manifest_uri,
        strategy=request.strategy,
        policy=request.policy,
        classifier=request.classifier,
        step_count=request.step_count,
        batch_size=request.batch_size,
        learning_rate=request.learning_rate,
        seed=request.seed,
        image_size=request.image_size,
        node_count=request.node_count,
        gpus_per_node=request.gpus_per_node,
        result=result_to_pb(result) if result is not None else None,
    )


def result_to_pb(result: RunResult) -> pb.TestResult:
    """The proto of a test result."""
    classes = [
        pb.ClassResult(
            class_name=score.class_name,
            accuracy=score.accuracy,
            test_image_count=score.test_image_count,
            predicted_counts=counts,
        )
        for score, counts in zip(result.classes, result.confusion, strict=True)
    ]
    return pb.TestResult(
        accuracy=result.accuracy,
        classes=classes,
        real_image_count=result.real_image_count,
        synthetic_image_count=result.synthetic_image_count,
        test_image_count=result.test_image_count,
        seconds=result.seconds,
        final_loss=result.final_loss,
        weights_uri=result.weights_uri,
        balanced_accuracy=result.balanced_accuracy,
        card_uri=result.card_uri,
        metrics_uri=result.metrics_uri,
        predictions_uri=result.predictions_uri,
    )


def metadata_to_pb(step: Step) -> pb.CreateTrainingRunMetadata:
    """The proto of progress."""
    return pb.CreateTrainingRunMetadata(
        done_step_count=step.done,
        total_step_count=step.total,
        images_per_second=step.images_per_second,
    )


def _recipes_to_pb(kind: recipes.Kind) -> list[pb.Recipe]:
    return [
        pb.Recipe(
            id=recipe.id,
            description=recipe.description,
            source=recipe.source,
            needs_synthetic=recipe.needs_synthetic,
        )
        for recipe in recipes.recipes(kind).values()
    ]


def _classifiers_to_pb() -> list[pb.Recipe]:
    return [
        pb.Recipe(
            id=classifier.id,
            description=classifier.description,
            source=classifier.source,
            smallest_image_size=smallest_image(classifier),
            usual_image_size=classifier.usual_image,
        )
        for classifier in classifiers().values()
    ]
