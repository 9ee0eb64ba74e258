"""One run that trains as a Job, seen from the trainer: what is new, and how it ended."""

import asyncio
import logging
from collections.abc import Sequence

from servicekit.storage import ObjectStore
from trainer.history import RunHistory
from trainer.launchers.base import OnReport, Report
from trainer.launchers.kubernetes import outcomes
from trainer.launchers.kubernetes.api import JOBS, PODS, KubernetesApi, Manifest
from trainer.launchers.kubernetes.manifests import end_of, name_of
from trainer.record import RunRecord
from trainer.runs import JobResult

_log = logging.getLogger(__name__)


class Following:
    """What was seen of a run so far."""

    def __init__(
        self, api: KubernetesApi, store: ObjectStore, run: str, on_report: OnReport
    ) -> None:
        self._api, self._run, self._on_report = api, run, on_report
        self._history, self._record = RunHistory(store), RunRecord(store, run)
        self._step, self._waiting = 0, ""

    async def look(self) -> JobResult | None:
        """Reports what is new. Returns the result once there is one; raises the run's error."""
        name = name_of(self._run)
        # The Job first: whatever it is said to have ended with is in the store by then.
        job = await self._api.find(JOBS, name)
        result = await asyncio.to_thread(self._history.result, self._run)
        self._report(await asyncio.to_thread(self._record.new_reports))
        if result is not None:
            kept = await asyncio.to_thread(self._history.metrics, self._run)
            self._report([Report(one.step, one.values, 0.0) for one in kept])
            await asyncio.to_thread(self._record.clear)
            return result
        if job is None:
            raise await asyncio.to_thread(outcomes.deleted, name, self._record)
        pods = await self._api.list(PODS, f"batch.kubernetes.io/job-name={name}")
        if end := end_of(job):
            raise await asyncio.to_thread(outcomes.failed, job, end, pods, self._record)
        self._tell(pods)
        return None

    def _report(self, reports: Sequence[Report]) -> None:
        """Passes on what comes after the last step; a run that lost a pod repeats some."""
        for report in reports:
            if report.step > self._step:
                self._step = report.step
                self._on_report(report)

    def _tell(self, pods: Sequence[Manifest]) -> None:
        """Logs why pods do not run: nothing ends a Job that waits for room or for its image."""
        if (waiting := outcomes.waiting(pods)) != self._waiting:
            self._waiting = waiting
            _log.warning("the training run %s waits: %s", self._run, waiting or "no longer")
