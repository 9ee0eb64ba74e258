"""Trains one run in a pod of its Job: `python -m trainer job RUN HOST:PORT`.

HOST:PORT is where the pods of a run of several machines meet.

It reads the run from the object store and leaves there what comes of it, reports included. It ends
with FOR_GOOD after an error that another try would meet again; the Job's podFailurePolicy then ends
the Job. After any other the Job tries again, and the run goes on from its checkpoint.
"""

import asyncio
import logging
import os
import sys
from collections.abc import Sequence

from servicekit.errors import (
    AlreadyExists,
    Exhausted,
    InvalidArgument,
    NotFound,
    Precondition,
    ServiceError,
)
from servicekit.server_settings import ServerSettings
from servicekit.settings import SettingsError, load
from servicekit.storage import LASTING, ObjectStore, check_store, open_store
from servicekit.telemetry import configure_logging
from trainer.history import RunHistory
from trainer.launchers.base import Report
from trainer.launchers.groups import Group
from trainer.launchers.subprocesses import SubprocessLauncher
from trainer.record import RunRecord
from trainer.runs import JobRequest
from trainer.settings import TrainerSettings

_log = logging.getLogger(__name__)

FOR_GOOD = 3
_INDEX = "JOB_COMPLETION_INDEX"  # Kubernetes sets it in the pods of an Indexed Job.
_AGAIN = 1
_REPORT_SECONDS = 1.0
_FINAL = (InvalidArgument, Precondition, NotFound, AlreadyExists)
_FINAL_REASONS = {"OUT_OF_MEMORY", "SCRATCH_FULL"}


def main(arguments: Sequence[str]) -> None:
    """Ends the process when the run has, with an exit status that the Job understands."""
    try:
        run, rendezvous = arguments
        index = int(os.environ.get(_INDEX, "0"))
        server = load(ServerSettings, os.environ, "SERVER")
        configure_logging(server.log_level)
        settings = load(TrainerSettings, os.environ, "TRAINER")
        store = open_store(server.store)
        check_store(store)
    except (SettingsError, ServiceError, ValueError) as error:
        print(f"the training cannot start: {error}", file=sys.stderr)
        sys.exit(FOR_GOOD if isinstance(error, SettingsError | ValueError) else _status(error))
    sys.exit(asyncio.run(_train(settings, store, run, rendezvous, index)))


async def _train(
    settings: TrainerSettings, store: ObjectStore, run: str, rendezvous: str, index: int
) -> int:
    record = RunRecord(store, run)
    try:
        request, result = await asyncio.to_thread(RunHistory(store).get, run)
        if result is None:
            group = Group(request.machines, request.processes, rendezvous, index)
            await _launch(SubprocessLauncher(settings, store, group), run, request, record)
    except ServiceError as error:
        _log.error("the training run %s ended: %s", run, error)
        status = _status(error)
        keep = record.fail if status == FOR_GOOD else record.interrupt
        await asyncio.to_thread(keep, error)
        return status
    return 0


async def _launch(
    launcher: SubprocessLauncher, run: str, request: JobRequest, record: RunRecord
) -> None:
    try:
        await launcher.load()
        await launcher.start(run, request)
        await _follow(launcher, run, record)
    finally:
        await launcher.close()


async def _follow(launcher: SubprocessLauncher, run: str, record: RunRecord) -> None:
    """Follows the run and passes its reports on, however slow the store is."""
    reports: list[Report] = []
    following = asyncio.create_task(launcher.follow(run, reports.append))
    kept = 0
    while not following.done():
        if len(reports) > kept:
            kept = len(reports)
            await _kept(record, reports[:kept])
        await asyncio.wait({following}, timeout=_REPORT_SECONDS)
    await following


async def _kept(record: RunRecord, reports: list[Report]) -> None:
    try:
        await asyncio.to_thread(record.keep_reports, reports)
    except ServiceError as error:  # Nothing is lost but news.
        _log.warning("reports cannot be kept: %s", error)


def _status(error: ServiceError) -> int:
    # A store that is full or closed today may be open tomorrow, unlike what a run asks for.
    is_final = isinstance(error, _FINAL) and error.reason not in LASTING
    no_room = isinstance(error, Exhausted) and error.reason in _FINAL_REASONS
    return FOR_GOOD if is_final or no_room else _AGAIN
