"""Runs training: admits runs, drives the workers, keeps what comes out."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from servicekit.devices import kind_of_device
from servicekit.storage import ObjectStore
from servicekit.together import to_its_end
from trainer.artefacts import CARD, PREDICTIONS, WEIGHTS, artefacts
from trainer.data import Lease
from trainer.defaults import with_image_size
from trainer.history import Metrics, MetricsLog, RunHistory
from trainer.pace import Meter, Pace, Paces
from trainer.preparation import ChosenImages, Preparation
from trainer.process import Event, WorkerPool
from trainer.room import Room
from trainer.runs import RunRequest, RunResult, RunSpec, result_from_plain
from trainer.settings import TrainerSettings

_SPEC, _CHECKPOINT = "spec.json", "checkpoint.safetensors"


@dataclass(frozen=True)
class Step:
    """Progress of a run."""

    done: int
    total: int
    images_per_second: float


@dataclass(frozen=True)
class Plan:
    """What a run would take: its request with the defaults filled in, room in the cache, pace."""

    request: RunRequest
    cache_bytes: int
    pace: Pace


OnStep = Callable[[Step], None]


class Trainer:
    """Trains classifiers on images of the object store."""

    def __init__(self, settings: TrainerSettings, store: ObjectStore) -> None:
        self._history = RunHistory(store)
        self._preparation = Preparation(settings, store)
        self._room = Room(settings.cache_bytes)
        self._settings = settings
        self._paces = Paces(store, f"{settings.device} {settings.threads}")
        self._pool = WorkerPool(settings.max_runs, settings.idle_seconds)
        self._logs: dict[str, MetricsLog] = {}

    @property
    def history(self) -> RunHistory:
        """The runs in the store."""
        return self._history

    @property
    def worker_pids(self) -> list[int]:
        """Ids of the worker processes alive."""
        return self._pool.pids

    def device_kind(self) -> str:
        """The kind of device that runs are trained on. May load torch, so not for an event loop."""
        return kind_of_device(self._settings.device, "TRAINER_DEVICE")

    async def admit(self, run_id: str, request: RunRequest) -> RunRequest:
        """Checks a run by its manifests, fills in what depends on them, and keeps it.

        A run that is known keeps what was filled in then, and one that has finished is not checked
        again: its manifests may be gone. Raises InvalidArgument or Precondition.
        """
        known = await asyncio.to_thread(self._history.request, run_id)
        if known and await asyncio.to_thread(self._history.result, run_id) is not None:
            return known
        images = await asyncio.to_thread(self._preparation.choose, request)
        request = known or with_image_size(request, images.sides)
        self._room.check(images.cache_entries(request.image_size))
        await asyncio.to_thread(self._history.add, run_id, request)
        return request

    async def plan(self, request: RunRequest, planned_count: int) -> Plan:
        """Checks a run as `admit` does, with so many synthetic images that are not made yet.

        Nothing is kept. Raises InvalidArgument or Precondition.
        """
        images = await asyncio.to_thread(self._preparation.choose, request)
        request = with_image_size(request, images.sides)
        entries = images.cache_entries(request.image_size, planned_count)
        self._room.check(entries)
        pace = await asyncio.to_thread(self._paces.get, request)
        return Plan(request, sum(entries.values()), pace)

    async def train(self, run_id: str, request: RunRequest, on_step: OnStep) -> RunResult:
        """Trains an admitted run, or goes on with one that was interrupted."""
        # Before anything is awaited, so that whoever watches the run now waits for its metrics.
        log = self._logs[run_id] = MetricsLog()
        try:
            result = await asyncio.to_thread(self._history.result, run_id)
            if result is not None:
                return result
            on_step(Step(0, request.step_count, 0.0))
            for metrics in await asyncio.to_thread(self._history.metrics, run_id):
                log.append(metrics)
            images = await asyncio.to_thread(self._preparation.choose, request)
            lease = Lease()
            try:
                async with self._room.promised(images.cache_entries(request.image_size)):
                    spec = await to_its_end(
                        self._prepare, run_id, request, images, lease, stop=lease.give_up
                    )
                    return await self._work(run_id, request, spec, log, on_step)
            finally:
                lease.release()
        finally:
            del self._logs[run_id]
            log.close()

    async def watch(self, run_id: str, after_step: int) -> AsyncIterator[Metrics]:
        """Yields metrics after a step; ends when the run ends. Raises NotFound."""
        await asyncio.to_thread(self._history.get, run_id)
        log = self._logs.get(run_id)
        if log is not None:
            async for metrics in log.after(after_step):
                yield metrics
            return
        for metrics in await asyncio.to_thread(self._history.metrics, run_id):
            if metrics.step > after_step:
                yield metrics

    async def close(self) -> None:
        """Ends the worker processes."""
        await self._pool.close()

    async def _work(
        self, run_id: str, request: RunRequest, spec: RunSpec, log: MetricsLog, on_step: OnStep
    ) -> RunResult:
        folder, uploads = Path(spec.folder), set[asyncio.Task[None]]()
        meter = Meter(spec.batch_size)

        def on_event(event: Event) -> None:
            if event["event"] == "metrics":
                log.append(Metrics(event["step"], event["values"]))
                meter.report(event["step"], event["images_per_second"])
                on_step(Step(event["step"], spec.step_count, event["images_per_second"]))
            elif not uploads:  # a slow store gets the next checkpoint instead
                task = asyncio.create_task(self._upload(run_id, folder, list(log.entries)))
                uploads.add(task)
                task.add_done_callback(uploads.discard)

        try:
            values = await self._pool.run(folder / _SPEC, on_event)
        finally:
            if uploads:  # Waited for and not cancelled, so that none is late.
                await asyncio.wait(uploads)
        await asyncio.to_thread(self._paces.add, request, meter.pace)
        result, metrics = result_from_plain(values), list(log.entries)
        return await to_its_end(self._finish, run_id, spec, result, metrics)

    def _prepare(
        self, run_id: str, request: RunRequest, images: ChosenImages, lease: Lease
    ) -> RunSpec:
        spec = self._preparation.prepare(run_id, request, images, lease)
        folder = Path(spec.folder)
        # A checkpoint on this machine is never older than the one in the store.
        checkpoint = self._history.checkpoint(run_id)
        if checkpoint is not None and not (folder / _CHECKPOINT).exists():
            (folder / _CHECKPOINT).write_bytes(checkpoint)
        spec.write(folder / _SPEC)
        return spec

    async def _upload(self, run_id: str, folder: Path, metrics: list[Metrics]) -> None:
        data = await asyncio.to_thread((folder / _CHECKPOINT).read_bytes)
        await to_its_end(self._history.keep_checkpoint, run_id, data, metrics)

    def _finish(
        self, run_id: str, spec: RunSpec, result: RunResult, metrics: list[Metrics]
    ) -> RunResult:
        files = artefacts(spec)
        uris = {name: self._history.keep(run_id, name, data) for name, data in files.items()}
        result = replace(
            result,
            weights_uri=uris[WEIGHTS],
            card_uri=uris[CARD],
            predictions_uri=uris[PREDICTIONS],
            metrics_uri=self._history.keep_metrics(run_id, metrics),
        )
        self._history.finish(run_id, result)
        shutil.rmtree(spec.folder, ignore_errors=True)
        return result
