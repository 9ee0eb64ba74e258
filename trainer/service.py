"""Serves the trainer over gRPC. Translates; the trainer thinks."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any

import grpc
from google.longrunning import operations_pb2
from google.protobuf.message import Message
from variegate.trainer.v1 import trainer_pb2 as pb
from variegate.trainer.v1 import trainer_pb2_grpc as rpc

from servicekit.errors import InvalidArgument, NotFound
from servicekit.operations import OperationRunner, RunProgress, Work
from trainer import recipes
from trainer.classifiers.table import any_of_timm, classifiers
from trainer.classifiers.timm_table import Pixels, timm_networks
from trainer.defaults import resolve, smallest_image
from trainer.identity import results_digest, tuning_digest
from trainer.messages.calls import CALLS, call_of
from trainer.messages.training_runs import request_from_pb, run_to_pb
from trainer.messages.tunings import methods_to_pb, tuning_request
from trainer.runs import JobRequest
from trainer.trainer import Trainer, TrainingProgress
from trainer.tunings.defaults import resolve_tuning

_RUNS, _TUNINGS = "trainingRuns", "tunings"
_PAGE_SIZE = 100


class TrainerService(rpc.TrainerServiceServicer):
    """Runs of every kind as operations."""

    def __init__(self, trainer: Trainer, runner: OperationRunner) -> None:
        self._trainer = trainer
        self._runner = runner

    async def CreateTrainingRun(
        self, request: pb.CreateTrainingRunRequest, context: grpc.aio.ServicerContext
    ) -> operations_pb2.Operation:
        run = f"{_RUNS}/{request.training_run_id}"
        return await self._start(run, resolve(request_from_pb(request.training_run)), request)

    async def CreateTuning(
        self, request: pb.CreateTuningRequest, context: grpc.aio.ServicerContext
    ) -> operations_pb2.Operation:
        run = f"{_TUNINGS}/{request.tuning_id}"
        return await self._start(run, resolve_tuning(tuning_request(request.tuning)), request)

    async def _start(
        self, run: str, wanted: JobRequest, request: Message
    ) -> operations_pb2.Operation:
        admitted = await self._trainer.admit(run, wanted, request.SerializeToString())
        operation_id = call_of(run).operation_id(run)
        operation = await self._runner.start(operation_id, request, self._work(run, admitted))
        await asyncio.sleep(0)  # the work has begun, so the run can be watched from now on
        return operation

    async def go_on(self) -> None:
        """Follows the runs that an earlier trainer started, where their operations are not done.

        So these can be watched, cancelled and waited for as if there had been no other trainer.
        """
        for run in await self._trainer.found():
            if run.partition("/")[0] not in CALLS:
                continue  # It is of a trainer of another version.
            call, history = call_of(run), self._trainer.history
            known = await asyncio.to_thread(history.call, run)
            wanted = await asyncio.to_thread(history.request, run)
            if known is None or wanted is None:
                continue  # It is of another store.
            operation_id = call.operation_id(run)
            with suppress(NotFound):
                if not (await self._runner.get(f"operations/trainer-{operation_id}")).done:
                    work = self._work(run, wanted, is_found=True)
                    await self._runner.start(operation_id, call.request.FromString(known), work)

    def _work(self, run: str, wanted: JobRequest, *, is_found: bool = False) -> Work:
        call = call_of(run)

        async def work(progress: RunProgress) -> Message:
            def on_step(step: TrainingProgress) -> None:
                progress.update(call.metadata(step))

            result = await self._trainer.train(run, wanted, on_step, is_found=is_found)
            return call.resource(run, wanted, result)

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
        return await self._get(request.name)

    async def ListTrainingRuns(
        self, request: pb.ListTrainingRunsRequest, context: grpc.aio.ServicerContext
    ) -> pb.ListTrainingRunsResponse:
        names, token = await self._page(_RUNS, request.page_size, request.page_token)
        runs = [await self._get(name) for name in names]
        return pb.ListTrainingRunsResponse(training_runs=runs, next_page_token=token)

    async def GetTuning(
        self, request: pb.GetTuningRequest, context: grpc.aio.ServicerContext
    ) -> pb.Tuning:
        return await self._get(request.name)

    async def ListTunings(
        self, request: pb.ListTuningsRequest, context: grpc.aio.ServicerContext
    ) -> pb.ListTuningsResponse:
        names, token = await self._page(_TUNINGS, request.page_size, request.page_token)
        tunings = [await self._get(name) for name in names]
        return pb.ListTuningsResponse(tunings=tunings, next_page_token=token)

    async def WatchMetrics(
        self, request: pb.WatchMetricsRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[pb.WatchMetricsResponse]:
        async for metrics in self._trainer.watch(request.training_run, request.after_step):
            yield pb.WatchMetricsResponse(step=metrics.step, values=metrics.values)

    async def ListRecipes(
        self, request: pb.ListRecipesRequest, context: grpc.aio.ServicerContext
    ) -> pb.ListRecipesResponse:
        deciding = self._trainer.deciding
        # By the files of the code, which takes a moment.
        digests = await asyncio.to_thread(lambda: (results_digest(deciding), tuning_digest()))
        networks = await asyncio.to_thread(timm_networks)
        return pb.ListRecipesResponse(
            strategies=_recipes_to_pb("strategies"),
            policies=_recipes_to_pb("policies"),
            classifiers=_classifiers_to_pb(),
            code_digest=digests[0],
            device=await self._trainer.device_kind(),
            tuning_methods=methods_to_pb(),
            tuning_code_digest=digests[1],
            timm_networks=sorted(networks),
            timm_image_sizes=_sizes_to_pb(networks),
        )

    async def _get(self, name: str) -> Any:
        request, result = await asyncio.to_thread(self._trainer.history.get, name)
        return call_of(name).resource(name, request, result)

    async def _page(self, collection: str, size: int, token: str) -> tuple[list[str], str]:
        """The names of one page of runs, and the token of the next page: the last id of this."""
        names = await asyncio.to_thread(lambda: list(self._trainer.history.names(collection)))
        last = f"{collection}/{token}"
        if token and last not in names:
            raise InvalidArgument(
                "page_token is not from this list; start again without one", field="page_token"
            )
        names = [name for name in names if name > last]
        size = size or _PAGE_SIZE
        more = len(names) > size
        return names[:size], names[size - 1].partition("/")[2] if more else ""


def _recipes_to_pb(kind: recipes.Kind) -> list[pb.Recipe]:
    return [
        pb.Recipe(
            id=recipe.id,
            description=recipe.description,
            source=recipe.source,
            needs_synthetic=recipe.needs_synthetic,
            mixes=recipe.mixes,
        )
        for recipe in recipes.recipes(kind).values()
    ]


def _sizes_to_pb(networks: Mapping[str, Pixels]) -> dict[str, pb.ImageSizes]:
    of_any = any_of_timm()
    usual = of_any.smallest_image, of_any.largest_image
    return {
        name: pb.ImageSizes(smallest=one.smallest_image, largest=one.largest_image)
        for name, one in networks.items()
        if (one.smallest_image, one.largest_image) != usual
    }


def _classifiers_to_pb() -> list[pb.Recipe]:
    return [
        pb.Recipe(
            id=classifier.id,
            description=classifier.description,
            source=classifier.source,
            smallest_image_size=smallest_image(classifier),
            usual_image_size=classifier.usual_image,
        )
        for classifier in (*classifiers().values(), any_of_timm())
    ]
