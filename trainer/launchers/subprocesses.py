"""Runs in processes of this machine. They end with the process that started them."""

import asyncio
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from servicekit.devices import find_device, kind_of_device
from servicekit.errors import Precondition
from servicekit.places import need_writable
from servicekit.storage import ObjectStore
from servicekit.together import to_its_end
from trainer.data.leases import Lease
from trainer.history import EVENTS, Metrics, MetricsLog, RunHistory
from trainer.kinds.registry import Kinds
from trainer.launchers.base import OnReport, Report
from trainer.launchers.groups import Group, run_group
from trainer.launchers.machines import train_with_others
from trainer.launchers.workers import Event, WorkerPool
from trainer.pace import Meter, Paces
from trainer.record import RunRecord
from trainer.room import Room
from trainer.runs import JobRequest, JobResult, JobSpec
from trainer.settings import TrainerSettings

_SPEC, _CHECKPOINT = "spec.json", "checkpoint.safetensors"
_CLOSING_SECONDS = 3.0


@dataclass
class _Training:
    """A run on its way: what it reported so far, and who is told of the rest."""

    task: "asyncio.Task[JobResult] | None" = None
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
        self._kinds = Kinds(settings, store)
        self._room = Room(settings.cache_bytes)
        self._paces = Paces(store, settings.place)
        self._pool = WorkerPool(settings.max_runs, settings.idle_seconds)
        self._trainings: dict[str, _Training] = {}

    async def load(self) -> None:
        """Raises if the scratch folder or the device cannot be used."""
        need_writable(self._settings.scratch, "TRAINER_SCRATCH")
        if self._settings.device not in ("auto", "cpu"):  # torch is not imported here for nothing
            await asyncio.to_thread(find_device, self._settings.device, "TRAINER_DEVICE")

    def check(self, request: JobRequest, cache_entries: Mapping[str, int]) -> None:
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

    async def start(self, run: str, request: JobRequest) -> None:
        """Queues a run; it goes on from its last checkpoint."""
        if run not in self._trainings:
            training = self._trainings[run] = _Training()
            work = self._train(run, request, training.report)
            training.task = asyncio.create_task(work, name=f"train {run}")

    async def follow(self, run: str, on_report: OnReport) -> JobResult:
        """Gives the reports so far, then each as it comes, then the result."""
        training = self._trainings[run]
        for report in training.reports:
            on_report(report)
        training.listeners.append(on_report)
        assert training.task is not None
        try:
            result = await asyncio.shield(training.task)
        finally:
            training.listeners.remove(on_report)
            if training.task.done():
                self._trainings.pop(run, None)
        return result

    async def cancel(self, run: str) -> None:
        """Kills the run's worker."""
        training = self._trainings.get(run)
        if training is not None and training.task is not None:
            training.task.cancel()
            await asyncio.wait({training.task})
            self._trainings.pop(run, None)

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

    async def _train(self, run: str, request: JobRequest, report: OnReport) -> JobResult:
        kind = self._kinds.of(run)
        images = await asyncio.to_thread(kind.choose, request)
        lease = Lease()
        try:
            async with self._room.promised(kind.cache_entries(request, images)):
                spec = await to_its_end(
                    self._prepare, run, request, images, lease, stop=lease.give_up
                )
                return await self._work(run, request, spec, report)
        finally:
            lease.release()

    async def _work(
        self, run: str, request: JobRequest, spec: JobSpec, report: OnReport
    ) -> JobResult:
        folder, uploads = Path(spec.folder), set[asyncio.Task[None]]()
        meter, log = Meter(spec.batch_size), MetricsLog()
        for known in await asyncio.to_thread(self._history.metrics, run):
            log.append(known)

        def on_event(event: Event) -> None:
            if event["event"] == "metrics":
                step, values, rate = event["step"], event["values"], event["images_per_second"]
                log.append(Metrics(step, values))
                meter.report(step, rate)
                report(Report(step, values, rate))
            elif event["event"] == "checkpoint" and not uploads:  # A slow store gets the next.
                task = asyncio.create_task(self._upload(run, folder, list(log.entries)))
                uploads.add(task)
                task.add_done_callback(uploads.discard)

        try:
            values = await self._trained(run, folder / _SPEC, on_event)
        finally:
            if uploads:  # Waited for and not cancelled, so that none is late.
                await asyncio.wait(uploads)
        if values is None:
            kept = await asyncio.to_thread(self._history.result, run)
            assert kept is not None, "it is in the store before the other machines end"
            return kept
        kind = self._kinds.of(run)
        await asyncio.to_thread(self._paces.add, kind.pace_key(request), meter.pace)
        result, metrics = kind.Result.of(values), list(log.entries)
        return await to_its_end(self._finish, run, spec, result, metrics)

    async def _trained(
        self, run: str, spec: Path, on_event: Callable[[Event], None]
    ) -> Event | None:
        if self._group.machines > 1:
            record = RunRecord(self._store, run)
            return await train_with_others(self._group, spec, on_event, record)
        if self._group.count > 1:
            return await run_group(self._group, spec, on_event)
        return await self._pool.run(spec, on_event)

    def _prepare(self, run: str, request: JobRequest, images: Any, lease: Lease) -> JobSpec:
        spec = self._kinds.of(run).prepare(run, request, images, lease)
        folder = Path(spec.folder)
        # A checkpoint on this machine is never older than the one in the store.
        checkpoint = self._history.checkpoint(run)
        if checkpoint is not None and not (folder / _CHECKPOINT).exists():
            (folder / _CHECKPOINT).write_bytes(checkpoint)
        spec.write(folder / _SPEC)
        return spec

    async def _upload(self, run: str, folder: Path, metrics: list[Metrics]) -> None:
        data = await asyncio.to_thread((folder / _CHECKPOINT).read_bytes)
        await to_its_end(self._history.keep_checkpoint, run, data, metrics)
        await to_its_end(self._keep_events, run, folder)

    def _keep_events(self, run: str, folder: Path) -> None:
        if (folder / EVENTS).exists():
            self._history.keep(run, EVENTS, (folder / EVENTS).read_bytes())

    def _finish(
        self, run: str, spec: JobSpec, result: JobResult, metrics: list[Metrics]
    ) -> JobResult:
        kind = self._kinds.of(run)
        files = kind.files(spec)
        uris = {name: self._history.keep(run, name, data) for name, data in files.items()}
        self._keep_events(run, Path(spec.folder))
        kept: JobResult = kind.kept(result, uris, self._history.keep_metrics(run, metrics))
        self._history.finish(run, kept)
        shutil.rmtree(spec.folder, ignore_errors=True)
        return kept
