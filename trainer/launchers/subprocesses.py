"""Runs in processes of this machine. They end with the process that started them."""

import asyncio
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from servicekit.devices import find_device, kind_of_device
from servicekit.errors import Precondition
from servicekit.places import need_writable
from servicekit.storage import ObjectStore
from servicekit.together import to_its_end
from trainer.artefacts import CARD, PREDICTIONS, WEIGHTS, artefacts
from trainer.data.leases import Lease
from trainer.history import Metrics, MetricsLog, RunHistory
from trainer.launchers.base import OnReport, Report
from trainer.launchers.groups import Group, run_group
from trainer.launchers.machines import train_with_others
from trainer.launchers.workers import Event, WorkerPool
from trainer.pace import Meter, Paces
from trainer.preparation import ChosenImages, Preparation
from trainer.record import RunRecord
from trainer.room import Room
from trainer.runs import RunRequest, RunResult, RunSpec, result_from_plain
from trainer.settings import TrainerSettings

_SPEC, _CHECKPOINT = "spec.json", "checkpoint.safetensors"
_CLOSING_SECONDS = 3.0


@dataclass
class _Training:
    """A run on its way: what it reported so far, and who is told of the rest."""

    task: "asyncio.Task[RunResult] | None" = None
    reports: list[Report] = field(default_factory=list)
    listeners: list[OnReport] = field(default_factory=list)

    def report(self, report: Report) -> None:
        self.reports.append(report)
        for listener in self.listeners:
            listener(report)


class SubprocessLauncher:
    """At most `max_runs` runs train at once, each in a worker process; the others wait."""

    def __init__(
        self, settings: TrainerSettings, store: ObjectStore, group: Group | None = None
    ) -> None:
        """Has each run trained by a `group`, which is this machine's part of it; None: alone."""
        self._settings, self._store = settings, store
        self._group = group or Group()
        self._history = RunHistory(store)
        self._preparation = Preparation(settings, store)
        self._room = Room(settings.cache_bytes)
        self._paces = Paces(store, settings.place)
        self._pool = WorkerPool(settings.max_runs, settings.idle_seconds)
        self._trainings: dict[str, _Training] = {}

    async def load(self) -> None:
        """Raises if the scratch folder or the device cannot be used."""
        need_writable(self._settings.scratch, "TRAINER_SCRATCH")
        if self._settings.device not in ("auto", "cpu"):  # torch is not imported here for nothing
            await asyncio.to_thread(find_device, self._settings.device, "TRAINER_DEVICE")

    def check(self, request: RunRequest, cache_entries: Mapping[str, int]) -> None:
        """Refuses more machines than this one, and images that can never lie in its cache."""
        if request.node_count > 1 or request.gpus_per_node:
            raise Precondition(
                f"node_count is {request.node_count} and gpus_per_node is {request.gpus_per_node}, "
                "and this trainer trains each run in one process of its own; leave both out, or "
                "ask a trainer that starts Kubernetes Jobs (TRAINER_LAUNCHER=kubernetes)",
                subject="TRAINER_LAUNCHER",
                reason="ONE_MACHINE_ONLY",
            )
        self._room.check(cache_entries)

    async def device_kind(self) -> str:
        """The kind of this machine's device."""
        return await asyncio.to_thread(kind_of_device, self._settings.device, "TRAINER_DEVICE")

    async def start(self, run_id: str, request: RunRequest) -> None:
        """Queues a run; it goes on from its last checkpoint."""
        if run_id not in self._trainings:
            training = self._trainings[run_id] = _Training()
            work = self._train(run_id, request, training.report)
            training.task = asyncio.create_task(work, name=f"train {run_id}")

    async def follow(self, run_id: str, on_report: OnReport) -> RunResult:
        """Gives the reports so far, then each as it comes, then the result."""
        training = self._trainings[run_id]
        for report in training.reports:
            on_report(report)
        training.listeners.append(on_report)
        assert training.task is not None
        try:
            result = await asyncio.shield(training.task)
        finally:
            training.listeners.remove(on_report)
            if training.task.done():
                self._trainings.pop(run_id, None)
        return result

    async def cancel(self, run_id: str) -> None:
        """Kills the run's worker."""
        training = self._trainings.get(run_id)
        if training is not None and training.task is not None:
            training.task.cancel()
            await asyncio.wait({training.task})
            self._trainings.pop(run_id, None)

    async def found(self) -> Sequence[str]:
        """None: a worker does not outlive the process that started it."""
        return ()

    async def close(self) -> None:
        """Ends all runs and worker processes; a write that hangs is not waited for."""
        tasks = {one.task for one in self._trainings.values() if one.task is not None}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSING_SECONDS)
        await self._pool.close()

    async def _train(self, run_id: str, request: RunRequest, report: OnReport) -> RunResult:
        images = await asyncio.to_thread(self._preparation.choose, request)
        lease = Lease()
        try:
            async with self._room.promised(images.cache_entries(request.image_size)):
                spec = await to_its_end(
                    self._prepare, run_id, request, images, lease, stop=lease.give_up
                )
                return await self._work(run_id, request, spec, report)
        finally:
            lease.release()

    async def _work(
        self, run_id: str, request: RunRequest, spec: RunSpec, report: OnReport
    ) -> RunResult:
        folder, uploads = Path(spec.folder), set[asyncio.Task[None]]()
        meter, log = Meter(spec.batch_size), MetricsLog()
        for known in await asyncio.to_thread(self._history.metrics, run_id):
            log.append(known)

        def on_event(event: Event) -> None:
            if event["event"] == "metrics":
                step, values, rate = event["step"], event["values"], event["images_per_second"]
                log.append(Metrics(step, values))
                meter.report(step, rate)
                report(Report(step, values, rate))
            elif event["event"] == "checkpoint" and not uploads:  # A slow store gets the next.
                task = asyncio.create_task(self._upload(run_id, folder, list(log.entries)))
                uploads.add(task)
                task.add_done_callback(uploads.discard)

        try:
            values = await self._trained(run_id, folder / _SPEC, on_event)
        finally:
            if uploads:  # Waited for and not cancelled, so that none is late.
                await asyncio.wait(uploads)
        if values is None:
            kept = await asyncio.to_thread(self._history.result, run_id)
            assert kept is not None, "it is in the store before the other machines end"
            return kept
        await asyncio.to_thread(self._paces.add, request, meter.pace)
        result, metrics = result_from_plain(values), list(log.entries)
        return await to_its_end(self._finish, run_id, spec, result, metrics)

    async def _trained(
        self, run_id: str, spec: Path, on_event: Callable[[Event], None]
    ) -> Event | None:
        if self._group.machines > 1:
            record = RunRecord(self._store, run_id)
            return await train_with_others(self._group, spec, on_event, record)
        if self._group.count > 1:
            return await run_group(self._group, spec, on_event)
        return await self._pool.run(spec, on_event)

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
