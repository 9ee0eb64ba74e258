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
import base64
import contextvars
import logging
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar

from dbos import DBOS, DBOSConfig, SetWorkflowID, StepReservation
from dbos import error as dbos_error
from google.rpc import status_pb2
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from gateway.run.database import engine_of
from servicekit.errors import (
    Cancelled,
    Internal,
    Precondition,
    ServiceError,
    from_status,
    to_status,
)

T = TypeVar("T")
Handler = Callable[[str], Awaitable[None]]

# Raise it when steps change their order or meaning: older work is then started anew.
VERSION = "3"
_THREADS = 32
_WORKFLOW = "gateway.work"
_DONE, _ENDED = "SUCCESS", {"SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"}
_OPEN = ["PENDING", "ENQUEUED"]
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class State:
    """Where a piece of work stands. `error` is set if it failed or was cancelled.

    `changed` is when it came to stand there, in seconds since 1970; 0 if not known.
    """

    status: Literal["running", "done", "failed"]
    error: ServiceError | None = None
    changed: float = 0.0


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
        )
        self._handler = handler
        self._engine: Engine | None = None
        self._tasks: dict[str, asyncio.Task[Any]] = {}
        self._forgetting: set[asyncio.Task[None]] = set()
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
            url = None if self._engine else self._database_url
            own: Any = {"system_database_url": url, "system_database_engine": self._engine}
            DBOS(config={**self._config, **own})
            # DBOS adopts the loop it is launched on, so this must not move to a thread.
            DBOS.launch()
        except (dbos_error.DBOSException, SQLAlchemyError, OSError) as error:
            raise Precondition(
                f"the gateway's database cannot be used: {str(error).splitlines()[0]}; correct "
                "GATEWAY_DATABASE_URL, or start its server",
                subject="GATEWAY_DATABASE_URL",
                reason="DATABASE_UNUSABLE",
            ) from error
        for found in await DBOS.list_workflows_async(name=_WORKFLOW, status=_DONE):
            self._forget_later(found.workflow_id.rpartition("~")[0])
        await self._renew()

    async def _renew(self) -> None:
        """Starts work anew that another version of this gateway left: DBOS goes on with its own."""
        own = {"name": _WORKFLOW, "executor_id": self._executor_id}
        for found in await DBOS.list_workflows_async(status=_OPEN, **own):
            if found.app_version != VERSION:
                await DBOS.cancel_workflow_async(found.workflow_id)
                await self.start(found.workflow_id.rpartition("~")[0])

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
            number, status = await self._latest(subject)
            if number and status not in _ENDED:
                return
            if task := self._tasks.get(subject):  # It was cancelled and has not ended yet.
                await asyncio.wait({task})
            with SetWorkflowID(f"{subject}~{number + 1}"):
                await DBOS.start_workflow_async(_work, subject)

    async def state(self, subject: str) -> State | None:
        """Returns where the work on `subject` stands; None if it was never started."""
        if subject in self._tasks:  # Callers poll; work in this process needs no database.
            return State("running")
        async with self._changing:
            number, status = await self._latest(subject)
            if not number:
                return None
            if status not in _ENDED:
                return State("running")
            handle = await DBOS.retrieve_workflow_async(f"{subject}~{number}")
            ended = (await handle.get_status()).completed_at or 0
            failed = partial(State, "failed", changed=ended / 1000)
            if status == "CANCELLED":
                return failed(Cancelled("cancelled; the same request goes on with it"))
            if status != _DONE:
                return failed(Internal("the work failed; the gateway's log has the trace"))
            error = await handle.get_result()
        return failed(_unpack(error)) if error else State("done")

    async def cancel(self, subject: str) -> None:
        """Stops the work; what it had finished stays."""
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
            return _pack(error)
        except Exception as error:
            _log.exception("%s failed", subject)
            return _pack(error)
        finally:
            if self._tasks.get(subject) is task:
                del self._tasks[subject]
        self._forget_later(subject)
        return ""

    def _forget_later(self, subject: str) -> None:
        # Outside of the workflow's context, or DBOS would take it for a part of the workflow.
        task = asyncio.create_task(self._forget(subject), context=contextvars.Context())
        self._forgetting.add(task)
        task.add_done_callback(self._forgetting.discard)

    async def _forget(self, subject: str) -> None:
        """Deletes the records of all runs of a subject once the newest has ended well."""
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

    async def _latest(self, subject: str) -> tuple[int, str]:
        """Returns number and status of the newest run; 0 if there is none."""
        number, status = 0, ""
        while found := await DBOS.get_workflow_status_async(f"{subject}~{number + 1}"):
            number, status = number + 1, found.status
        return number, status


_launched: Durable | None = None


@DBOS.workflow(name=_WORKFLOW, max_recovery_attempts=10_000)  # type: ignore[untyped-decorator]
async def _work(subject: str) -> str:
    assert _launched is not None
    return await _launched.run(subject)


class Step:
    """A durable step whose place in the order of steps is taken now and which runs later."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._place: StepReservation = DBOS.reserve_step()

    async def run(self, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Returns the result of `function`, which is plain data, or the recorded one.

        A ServiceError is recorded, too, and raised.
        """

        async def attempt() -> tuple[str, Any]:
            try:
                return "", await function()
            except ServiceError as error:
                return _pack(error), None

        error, result = await self._place.run_async({"name": self._name}, attempt)
        if error:
            raise _unpack(error)
        value: T = result
        return value


async def step(name: str, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs one durable step now; see Step.run."""
    return await Step(name).run(function)


async def steps(
    name: str,
    functions: list[Callable[[], Coroutine[Any, Any, T]]],
    *,
    in_flight: int,
    done: Callable[[int, T], None] = lambda number, result: None,
) -> list[T]:
    """Runs durable steps, `in_flight` at a time, and returns their results in order.

    `done` hears of each result as it comes. The first error stops the others and is raised.
    """
    room = asyncio.Semaphore(in_flight)

    async def one(number: int, place: Step) -> T:
        async with room:
            result = await place.run(functions[number])
        done(number, result)
        return result

    # Places are taken in order, before anything runs, so that a replay finds each step's record.
    places = [Step(name) for _ in functions]
    tasks = [asyncio.ensure_future(one(number, place)) for number, place in enumerate(places)]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _pack(error: BaseException) -> str:
    return base64.b64encode(to_status(error, "gateway").SerializeToString()).decode()


def _unpack(text: str) -> ServiceError:
    return from_status(status_pb2.Status.FromString(base64.b64decode(text)))
