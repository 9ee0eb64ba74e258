"""One Indexed Job per run, with a headless Service by which its pods find one another.

The pods read the run from the object store and write what comes of it there; the trainer looks at
both the store and the Job. A lost pod is replaced by the Job's controller and goes on from the
checkpoint. Names follow from the run's id, so that whatever was begun is found again.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress

from servicekit.errors import AlreadyExists, NotFound, Precondition, Unavailable
from servicekit.storage import ObjectStore
from servicekit.together import in_full
from trainer.launchers.base import OnReport
from trainer.launchers.kubernetes.api import JOBS, SERVICES, TEMPLATES, KubernetesApi, Manifest
from trainer.launchers.kubernetes.following import Following
from trainer.launchers.kubernetes.manifests import (
    MANAGED_BY,
    gpus_of,
    is_going,
    job_of,
    name_of,
    run_of,
    service_of,
)
from trainer.record import RunRecord
from trainer.room import Room
from trainer.runs import JobRequest, JobResult
from trainer.settings import TrainerSettings

_log = logging.getLogger(__name__)

# Longer than a pod is given to end. One whose node is lost takes longer than any patience.
_GONE_SECONDS = 120.0


class KubernetesLauncher:
    """Starts Jobs and follows them. Quota and scheduler say how many train at once."""

    def __init__(self, settings: TrainerSettings, store: ObjectStore, api: KubernetesApi) -> None:
        self._settings = settings
        self._store = store
        self._api = api
        self._room = Room(settings.cache_bytes)

    async def load(self) -> None:
        """Raises if there is no template, or the rights to use it are missing."""
        gpus_of(await self._template())
        await self._api.list(JOBS, MANAGED_BY)

    def check(self, request: JobRequest, cache_entries: Mapping[str, int]) -> None:
        """Refuses images that can never lie in a pod's cache together."""
        self._room.check(cache_entries)

    async def device_kind(self) -> str:
        """The kind of device that the template's pods have."""
        return "cuda" if gpus_of(await self._template()) else "cpu"

    async def start(self, run: str, request: JobRequest) -> None:
        """Creates the run's Job and Service, as far as they do not exist."""
        # Not stopped half way: what is on its way to the API server could not be cancelled.
        await in_full(self._start(run, request))

    async def _start(self, run: str, request: JobRequest) -> None:
        name = name_of(run)
        job = await self._api.find(JOBS, name)
        if job is not None and not is_going(job):
            await self._delete(name)
            job = None
        if job is None:
            await asyncio.to_thread(RunRecord(self._store, run).clear)
            job = await self._created(job_of(await self._template(), run, request))
        with suppress(AlreadyExists):
            await self._api.create(SERVICES, service_of(job))

    async def follow(self, run: str, on_report: OnReport) -> JobResult:
        """Looks at the Job and the store every few seconds, through failures of either."""
        following = Following(self._api, self._store, run, on_report)
        while True:
            try:
                if (result := await following.look()) is not None:
                    return result
            except Unavailable as error:  # The run goes on meanwhile.
                _log.warning("the training run %s cannot be followed: %s", run, error)
            await asyncio.sleep(self._settings.job_poll_seconds)

    async def cancel(self, run: str) -> None:
        """Deletes the Job with all that it owns."""
        await self._delete(name_of(run))

    async def found(self) -> Sequence[str]:
        """The runs of all Jobs that are not being deleted, also of those at their end."""
        jobs = await self._api.list(JOBS, MANAGED_BY)
        kept = [job for job in jobs if "deletionTimestamp" not in job["metadata"]]
        return sorted(filter(None, map(run_of, kept)))

    async def close(self) -> None:
        """Leaves all Jobs to themselves."""
        await self._api.close()

    async def _template(self) -> Manifest:
        name = self._settings.job_template
        try:
            return await self._api.get(TEMPLATES, name)
        except NotFound as error:
            raise Precondition(
                f"there is no CronJob {name} in the namespace {self._api.namespace}, which is the "
                "template of the trainings' Jobs; apply k8s/components/training-jobs, or name "
                "another in TRAINER_JOB_TEMPLATE",
                subject="TRAINER_JOB_TEMPLATE",
                reason="JOB_TEMPLATE_MISSING",
            ) from error

    async def _created(self, job: Manifest) -> Manifest:
        try:
            return await self._api.create(JOBS, job)
        except AlreadyExists:  # Another trainer was faster, or an answer was lost.
            return await self._api.get(JOBS, job["metadata"]["name"])

    async def _delete(self, name: str) -> None:
        """Deletes a Job and waits until its pods are gone, so that nothing of it writes."""
        try:
            await self._api.delete(JOBS, name)
            async with asyncio.timeout(_GONE_SECONDS):
                while await self._api.find(JOBS, name) is not None:  # noqa: ASYNC110
                    await asyncio.sleep(min(1.0, self._settings.job_poll_seconds))
        except NotFound:
            return
        except TimeoutError:
            raise Unavailable(
                f"pods of the Job {name} have not ended {_GONE_SECONDS:g} seconds after it was "
                "deleted; is their node lost? Ask again when they are gone",
                reason="JOB_NOT_GONE",
                retry_after=30.0,
            ) from None
