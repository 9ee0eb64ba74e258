"""Where launchers are tried: each kind has a place that starts it, and takes a worker from it."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import psutil

from servicekit.storage import ObjectStore
from tests.trainer.conftest import DATASET, settings
from trainer.defaults import resolve
from trainer.history import RunHistory
from trainer.launchers.base import Launcher, Report
from trainer.launchers.subprocesses import SubprocessLauncher
from trainer.runs import RunRequest


class Place(Protocol):
    """What a test may do around a launcher."""

    # Whether a run goes on by itself when its worker is lost, or its launcher is gone.
    goes_on: bool

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

    def launcher(self) -> Launcher:
        self._count += 1
        return SubprocessLauncher(settings(self._folder / str(self._count)), self._store)

    def workers(self) -> list[psutil.Process]:
        children = psutil.Process().children()
        return [child for child in children if "trainer.worker" in child.cmdline()]

    async def left(self, run_id: str) -> list[str]:
        return [str(worker.pid) for worker in self.workers()]


def admitted(store: ObjectStore, run_id: str, **values: Any) -> RunRequest:
    """Returns a run that the store knows, as a trainer leaves it to its launcher."""
    fields = {"step_count": 50, "batch_size": 8, "image_size": 32, "seed": 7} | values
    request = resolve(RunRequest(DATASET, **fields))
    RunHistory(store).add(run_id, request)
    return request


class Follower:
    """Starts and follows a run, and keeps what is reported."""

    def __init__(self, launcher: Launcher, run_id: str, request: RunRequest) -> None:
        self.reports: list[Report] = []
        self.task = asyncio.create_task(self._follow(launcher, run_id, request))

    async def _follow(self, launcher: Launcher, run_id: str, request: RunRequest) -> Any:
        await launcher.start(run_id, request)
        return await launcher.follow(run_id, self.reports.append)

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Waits until something is so. Raises what ended the run before."""
        while not is_so():
            await asyncio.wait({self.task}, timeout=0.02)
            if self.task.done():
                await self.task
                assert is_so(), "the run ended too early"
