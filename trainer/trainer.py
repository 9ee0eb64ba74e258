"""Runs training: admits runs, has a launcher train them, tells how they are."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass

from servicekit.storage import ObjectStore
from servicekit.together import in_full
from trainer.history import Metrics, MetricsLog, RunHistory
from trainer.kinds.classify import ClassifyKind
from trainer.kinds.registry import Kinds
from trainer.launchers.base import Launcher, Report
from trainer.pace import Pace, Paces
from trainer.runs import JobRequest, JobResult, RunRequest
from trainer.searches import Searches
from trainer.settings import TrainerSettings


@dataclass(frozen=True)
class TrainingProgress:
    """Progress of a run."""

    done: int
    total: int
    images_per_second: float
    search_done: int = 0
    search_total: int = 0
    """Steps of the search for the run's policy, which comes first; 0 without one."""


@dataclass(frozen=True)
class TrainingPlan:
    """What a run would take: its request with the defaults filled in, room in the cache, pace."""

    request: RunRequest
    cache_bytes: int
    pace: Pace


OnStep = Callable[[TrainingProgress], None]


class Trainer:
    """Trains on images of the object store. A run is known by its name, "COLLECTION/ID"."""

    def __init__(self, settings: TrainerSettings, store: ObjectStore, launcher: Launcher) -> None:
        self._settings = settings
        self._history = RunHistory(store)
        self._kinds = Kinds(settings, store)
        self._classify = ClassifyKind(settings, store)
        self._paces = Paces(store, settings.place)
        self._launcher = launcher
        self._searches = Searches(self._history, launcher)
        self._logs: dict[str, MetricsLog] = {}
        self._is_leaving = False

    @property
    def history(self) -> RunHistory:
        """The runs in the store."""
        return self._history

    @property
    def deciding(self) -> Mapping[str, object]:
        """The settings that results depend on, by name."""
        return self._settings.deciding

    async def load(self) -> None:
        """Raises a ServiceError if nothing can be trained here."""
        await self._launcher.load()

    async def device_kind(self) -> str:
        """The kind of device that runs are trained on."""
        return await self._launcher.device_kind()

    async def found(self) -> Sequence[str]:
        """The names of runs that went on while no trainer followed them."""
        return await self._launcher.found()

    async def admit(self, run: str, request: JobRequest, call: bytes) -> JobRequest:
        """Checks a run by its manifests, fills in what depends on them, and keeps it with its call.

        A run that is known keeps what was filled in then, and one that has finished is not checked
        again: its manifests may be gone. Raises InvalidArgument or Precondition.
        """
        known = await asyncio.to_thread(self._history.request, run)
        if known and await asyncio.to_thread(self._history.result, run) is not None:
            return known
        kind = self._kinds.of(run)
        images = await asyncio.to_thread(kind.choose, request)
        request = known or kind.completed(request, images)
        self._launcher.check(request, kind.cache_entries(request, images))
        await asyncio.to_thread(self._history.add, run, request, call)
        return request

    async def plan(self, request: RunRequest, planned_count: int) -> TrainingPlan:
        """Checks a training run as `admit` does, with synthetic images that are not made yet.

        Nothing is kept. Raises InvalidArgument or Precondition.
        """
        kind = self._classify
        images = await asyncio.to_thread(kind.choose, request)
        request = kind.completed(request, images, planned_count)
        entries = images.cache_entries(request, planned_count)
        self._launcher.check(request, entries)
        pace = await asyncio.to_thread(self._paces.get, kind.pace_key(request))
        return TrainingPlan(request, sum(entries.values()), pace)

    async def train(
        self, run: str, request: JobRequest, on_step: OnStep, *, is_found: bool = False
    ) -> JobResult:
        """Trains an admitted run, or goes on with one that was interrupted.

        One that was found (see `found`) is followed, and not started again if it has failed.
        """
        # Before anything is awaited, so that whoever watches the run now waits for its metrics.
        log = self._logs[run] = MetricsLog()
        try:
            result = await asyncio.to_thread(self._history.result, run)
            if result is not None:
                return result
            on_step(TrainingProgress(0, request.step_count, 0.0))
            for metrics in await asyncio.to_thread(self._history.metrics, run):
                log.append(metrics)

            def on_report(report: Report) -> None:
                log.append(Metrics(report.step, report.values))
                on_step(TrainingProgress(report.step, request.step_count, report.images_per_second))

            if not is_found:
                if isinstance(request, RunRequest) and request.found_policy:
                    await self._search(request, on_step)
                await self._launcher.start(run, request)
            return await self._launcher.follow(run, on_report)
        except asyncio.CancelledError:
            if not self._is_leaving:
                await in_full(self._launcher.cancel(run))
            raise
        finally:
            del self._logs[run]
            log.close()

    async def _search(self, request: RunRequest, on_step: OnStep) -> None:
        """Has the run's policy found, unless it is."""

        def on_search(done: int, total: int) -> None:
            on_step(TrainingProgress(0, request.step_count, 0.0, done, total))

        await self._searches.find(request, on_search, lambda: self._is_leaving)

    async def watch(self, run: str, after_step: int) -> AsyncIterator[Metrics]:
        """Yields metrics after a step; ends when the run ends. Raises NotFound."""
        await asyncio.to_thread(self._history.get, run)
        log = self._logs.get(run)
        if log is not None:
            async for metrics in log.after(after_step):
                yield metrics
            return
        for metrics in await asyncio.to_thread(self._history.metrics, run):
            if metrics.step > after_step:
                yield metrics

    def leave(self) -> None:
        """From now on work that is cancelled is not wanted here, which is not to say nowhere.

        A run that can go on without this process does; another trainer finds it again.
        """
        self._is_leaving = True

    async def close(self) -> None:
        """Ends what would not outlive this process anyway."""
        await self._launcher.close()
