"""Where launchers are tried: each kind has a place with what it starts runs on."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import psutil

from servicekit.storage import DirectoryStore, ObjectStore
from tests.trainer.cluster import Cluster
from tests.trainer.conftest import DATASET, settings
from trainer.defaults import resolve
from trainer.history import RunHistory
from trainer.launchers.base import Launcher, Report
from trainer.launchers.kubernetes.api import Access, KubernetesApi
from trainer.launchers.kubernetes.launcher import KubernetesLauncher
from trainer.launchers.kubernetes.manifests import name_of
from trainer.launchers.subprocesses import SubprocessLauncher
from trainer.runs import RunRequest


class Place(Protocol):
    """What a test may do around a launcher."""

    # Whether a run goes on by itself when its worker is lost, or its launcher is gone.
    goes_on: bool

    async def open(self) -> None:
        """Starts what the launchers need."""

    async def close(self) -> None:
        """Ends it."""

    def launcher(self) -> Launcher:
        """A launcher as a trainer has that has just started; the old one's disk is gone."""

    def workers(self) -> list[psutil.Process]:
        """The processes that train."""

    async def left(self, run_id: str) -> list[str]:
        """Names of what there still is of a run, besides its objects in the store."""


class SubprocessPlace:
    """Workers are children of this process."""

    goes_on = False

    def __init__(self, store: ObjectStore, folder: Path) -> None:
        self._store, self._folder, self._count = store, folder, 0

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        assert not self.workers()

    def launcher(self) -> Launcher:
        self._count += 1
        return SubprocessLauncher(settings(self._folder / str(self._count)), self._store)

    def workers(self) -> list[psutil.Process]:
        return training_processes()

    async def left(self, run_id: str) -> list[str]:
        return [str(worker.pid) for worker in self.workers()]


class KubernetesPlace:
    """Workers are in pods of a test's cluster, which are processes below this one."""

    goes_on = True

    def __init__(self, store: DirectoryStore, folder: Path) -> None:
        self._store, self._folder = store, folder
        environ = {
            "SERVER_STORE": store.root.as_uri(),
            "TRAINER_CHECKPOINT_SECONDS": "0",
            "TRAINER_THREADS": "1",
        }
        self.cluster = Cluster(folder / "cluster", environ)

    async def open(self) -> None:
        await self.cluster.start()

    async def close(self) -> None:
        await self.cluster.stop()
        assert not self.workers()

    def launcher(self) -> Launcher:
        access = Access.of_pod(self.cluster.environ, self.cluster.account)
        values = settings(self._folder / "none", launcher="kubernetes", job_poll_seconds=0.1)
        return KubernetesLauncher(values, self._store, KubernetesApi(access))

    def workers(self) -> list[psutil.Process]:
        return training_processes()

    async def left(self, run_id: str) -> list[str]:
        name, cluster = name_of(named(run_id)), self.cluster
        pods = [pod.name for pod in cluster.pods_of(name)]
        return [key for key in (name,) if key in {*cluster.jobs, *cluster.services}] + pods


def training_processes(recursive: bool = True) -> list[psutil.Process]:
    """The worker processes below this one; those of its own alone if not `recursive`."""
    found = []
    for child in psutil.Process().children(recursive=recursive):
        with suppress(psutil.NoSuchProcess):  # Or it is a zombie by now.
            if "trainer.worker" in child.cmdline():
                found.append(child)
    return found


def named(run_id: str) -> str:
    """The name of a training run."""
    return f"trainingRuns/{run_id}"


def admitted(store: ObjectStore, run_id: str, **values: Any) -> RunRequest:
    """Returns a run that the store knows, as a trainer leaves it to its launcher."""
    # Batches that take a while, so that a run can be met on its way.
    fields = {"step_count": 50, "batch_size": 32, "image_size": 32, "seed": 7} | values
    request = resolve(RunRequest(DATASET, **fields))
    RunHistory(store).add(named(run_id), request, b"")
    return request


class Follower:
    """Starts and follows a run, and keeps what is reported."""

    def __init__(self, launcher: Launcher, run_id: str, request: RunRequest) -> None:
        self.reports: list[Report] = []
        self.task = asyncio.create_task(self._follow(launcher, run_id, request))

    async def _follow(self, launcher: Launcher, run_id: str, request: RunRequest) -> Any:
        await launcher.start(named(run_id), request)
        return await launcher.follow(named(run_id), self.reports.append)

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Waits until something is so. Raises what ended the run before."""
        while not is_so():
            await asyncio.wait({self.task}, timeout=0.02)
            if self.task.done():
                await self.task
                assert is_so(), "the run ended too early"
