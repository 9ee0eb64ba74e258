"""Durable workflows on DBOS, and nothing else of DBOS anywhere.

A piece of work is named by its subject, for example "datasets/pets/augmentations/a1". Its handler
is a coroutine that may do anything as long as everything that takes time or may differ happens in
a `step`: the result of a step is written down, and after the death of the process the handler runs
again from its first line while finished steps answer from the record.

The records of work that is done are deleted: what it made is in the object store. Those of failed
work stay, for the error that it ended with.

DBOS keeps one set of workflows per process, and so does this module: one Durable is launched at a
time. Workflows run on the event loop that launched it.
"""

import asyncio
import contextvars
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from dbos import DBOS, DBOSConfig, SetWorkflowID, WorkflowStatus
from dbos import error as dbos_error
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from gateway.clients.faults import is_lasting, is_passing
from gateway.run.database import check, engine_of, failure_of, told
from gateway.run.serializer import JsonSerializer, RecordedError
from gateway.run.state import State, pack, unpack
from servicekit.errors import (
    Cancelled,
    Internal,
    Precondition,
    ServiceError,
    Unavailable,
)

Handler = Callable[[str], Awaitable[None]]

# Raise it when steps change their order or meaning: older work is then started anew.
VERSION = "4"
_THREADS = 32
_WORKFLOW = "gateway.work"
# What DBOS never says: the run of another version, which is not gone on with.
_OUTDATED = "OUTDATED"
_DONE, _CANCELLED = "SUCCESS", "CANCELLED"
_EVERY_STEP = 2**31 - 1
_ENDED = {_DONE, _OUTDATED, _CANCELLED, "ERROR", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"}
_OPEN = {"PENDING", "ENQUEUED"}
_log = logging.getLogger(__name__)


class Durable:
    """Starts, resumes, cancels and looks at durable work."""

    def __init__(self, database_url: str, executor_id: str, handler: Handler) -> None:
        self._database_url, self._executor_id = database_url, executor_id
        self._config = DBOSConfig(
            name="variegate-gateway",
            executor_id=executor_id,
            application_version=VERSION,
            log_level="ERROR",
            max_executor_threads=_THREADS,
            enable_otlp=False,
            serializer=JsonSerializer(),
        )
        self._handler = handler
        self._engine: Engine | None = None
        self._tasks: dict[str, asyncio.Task[Any]] = {}
        # Known here even if the database had no room to write it down.
        self._failed: dict[str, State] = {}
        self._forgetting: set[asyncio.Task[None]] = set()
        # Done just now: to delete the records of large work takes a while.
        self._done: set[str] = set()
        self._changing = asyncio.Lock()

    async def launch(self) -> None:
        """Opens the database and goes on with what was interrupted.

        Raises Precondition if the database cannot be used.
        """
        global _launched
        if _launched is not None:
            raise Precondition(
                "another gateway runs in this process; close it first, or use another process",
                subject="gateway",
                reason="GATEWAY_RUNNING",
            )
        _launched = self
        try:
            self._engine = engine_of(self._database_url)
            if self._engine:
                check(self._engine)  # Before DBOS, which would print the trace of a damaged one.
            url = None if self._engine else self._database_url
            own: Any = {"system_database_url": url, "system_database_engine": self._engine}
            DBOS(config={**self._config, **own})
            # DBOS adopts the loop it is launched on, so this must not move to a thread.
            DBOS.launch()
            _log_as_others_do()
            await self._clean_up()
        except (dbos_error.DBOSException, SQLAlchemyError, OSError) as error:
            if isinstance(error, SQLAlchemyError):
                failure = failure_of(error, self._database_url)
                if not isinstance(failure, Unavailable):
                    raise failure from error
            raise Precondition(
                f"the gateway's database cannot be used: {str(error).splitlines()[0]}; correct "
                "GATEWAY_DATABASE_URL, or start its server",
                subject="GATEWAY_DATABASE_URL",
                reason="DATABASE_UNUSABLE",
            ) from error

    async def _clean_up(self) -> None:
        """Deletes the records of other versions, whose open work starts anew, and in the background
        those of work that is done."""
        found = await DBOS.list_workflows_async(
            name=_WORKFLOW, executor_id=self._executor_id, load_input=False, load_output=False
        )
        if old := [one for one in found if one.app_version != VERSION]:
            await DBOS.delete_workflows_async([one.workflow_id for one in old])
        for subject in {_subject_of(one) for one in old if one.status in _OPEN}:
            await self.start(subject)
        for one in found:
            if one.app_version == VERSION and one.status == _DONE:
                self._forget_later(_subject_of(one))

    async def close(self) -> None:
        """Interrupts all work; it goes on at the next launch."""
        global _launched
        if _launched is not self:
            return
        tasks = [*self._tasks.values(), *self._forgetting]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # DBOS has made its own threads the loop's, and takes them away: others still need some.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())
        await asyncio.to_thread(DBOS.destroy)
        if self._engine is not None:
            self._engine.dispose()
        _launched = None

    async def start(self, subject: str) -> None:
        """Starts the work on `subject`, unless it runs. Work that ended starts again."""
        async with self._changing:
            with told():
                await self._start(subject)

    async def _start(self, subject: str) -> None:
        number, status = await self._latest(subject)
        if number and status not in _ENDED:
            if subject not in self._failed:
                return
            # It ended, and the database had no room to say so.
            await DBOS.cancel_workflow_async(f"{subject}~{number}")
        goes_on = number > 0 and await self._may_go_on(subject)
        self._failed.pop(subject, None)
        if task := self._tasks.get(subject):  # It was cancelled and has not ended yet.
            await asyncio.wait({task})
        with SetWorkflowID(f"{subject}~{number + 1}"):
            if goes_on:  # With the steps that were finished.
                await DBOS.fork_workflow_async(
                    f"{subject}~{number}", _EVERY_STEP, application_version=VERSION
                )
            else:
                await DBOS.start_workflow_async(_work, subject)

    async def _may_go_on(self, subject: str) -> bool:
        """Says whether the work ended for want of something that may be there now; what it had
        found out otherwise may be what has changed."""
        state = self._failed.get(subject) or await self._recorded(subject)
        error = state.error if state else None
        return isinstance(error, Cancelled) or (
            error is not None and (is_passing(error) or is_lasting(error))
        )

    async def state(self, subject: str) -> State | None:
        """Returns where the work on `subject` stands; None if it was never started."""
        if subject in self._tasks:  # Callers poll; work in this process needs no database.
            return State("running")
        if subject in self._failed:
            return self._failed[subject]
        if subject in self._done:
            return State("done")
        async with self._changing:
            with told():
                return await self._recorded(subject)

    async def _recorded(self, subject: str) -> State | None:
        number, status = await self._latest(subject)
        if not number or status == _OUTDATED:
            return None
        if status not in _ENDED:
            return State("running")
        handle = await DBOS.retrieve_workflow_async(f"{subject}~{number}")
        ended = (await handle.get_status()).completed_at or 0
        failed = partial(State, "failed", changed=ended / 1000)
        if status == _CANCELLED:
            return failed(Cancelled("cancelled; the same request goes on with it"))
        if status != _DONE:
            return failed(Internal("the work failed; the gateway's log has the trace"))
        error = await handle.get_result()
        return failed(unpack(error)) if error else State("done")

    async def cancel(self, subject: str) -> None:
        """Stops the work; what it had finished stays."""
        with told():
            number, status = await self._latest(subject)
            if number and status not in _ENDED:
                await DBOS.cancel_workflow_async(f"{subject}~{number}")
                if task := self._tasks.get(subject):
                    task.cancel()

    async def run(self, subject: str) -> str:
        """Runs the handler. Returns the packed error, or nothing."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks[subject] = task
        try:
            await self._handler(subject)
        except ServiceError as error:
            _log.warning("%s failed: %s", subject, error.message)
            return self._fail(subject, error)
        except Exception as error:
            _log.exception("%s failed", subject)
            return self._fail(subject, error)
        finally:
            if self._tasks.get(subject) is task:
                del self._tasks[subject]
        self._done.add(subject)
        self._forget_later(subject)
        return ""

    def _fail(self, subject: str, error: Exception) -> str:
        packed = pack(error)
        self._failed[subject] = State("failed", unpack(packed), time.time())
        return packed

    def _forget_later(self, subject: str) -> None:
        # Outside of the workflow's context, or DBOS would take it for a part of the workflow.
        task = asyncio.create_task(self._forget(subject), context=contextvars.Context())
        self._forgetting.add(task)
        task.add_done_callback(self._forgetting.discard)

    async def _forget(self, subject: str) -> None:
        """Deletes the records of all runs of a subject once the newest has ended well."""
        try:
            number, _ = await self._latest(subject)
            if not number:
                return
            handle = await DBOS.retrieve_workflow_async(f"{subject}~{number}")
            if await handle.get_result():
                return
            async with self._changing:
                if await self._latest(subject) == (number, _DONE):
                    await DBOS.delete_workflows_async(
                        [f"{subject}~{run}" for run in range(1, number + 1)]
                    )
        except (SQLAlchemyError, RecordedError) as error:
            # They are deleted at the next launch.
            _log.warning("the records of %s stay for now: %s", subject, str(error).splitlines()[0])
        finally:
            self._done.discard(subject)

    async def _latest(self, subject: str) -> tuple[int, str]:
        """Returns number and status of the newest run; 0 if there is none."""
        number, status = 0, ""
        while found := await DBOS.get_workflow_status_async(f"{subject}~{number + 1}"):
            number, status = number + 1, found.status
            if found.app_version != VERSION:
                status = _OUTDATED
        return number, status


_launched: Durable | None = None


@DBOS.workflow(name=_WORKFLOW, max_recovery_attempts=10_000)  # type: ignore[untyped-decorator]
async def _work(subject: str) -> str:
    assert _launched is not None
    return await _launched.run(subject)


def _subject_of(run: WorkflowStatus) -> str:
    return run.workflow_id.rpartition("~")[0]


def _log_as_others_do() -> None:
    """Sends what DBOS has to say to the log of the process, not to the terminal."""
    logger = logging.getLogger("dbos")
    logger.handlers.clear()
    logger.propagate = True
