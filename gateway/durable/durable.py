"""Durable work: started, gone on with, cancelled and looked at, by any gateway of one database.

A piece of work is named by its subject, for example "datasets/pets/augmentations/a1". Its handler
is a coroutine that may do anything as long as everything that takes time or may differ happens in
a `step`: the result of a step is written down, and after the death of the process the handler runs
again from its first line while finished steps answer from the record.

The work belongs to the gateway that runs it. Once that gateway is dead (see `Peers`), any other
that finds out puts the work back into DBOS's queue, which hands it to one of them; that begins when
no gateway holds the subject. What the former owner still tries to record is refused by DBOS, since
each hand-over gives a run another token that all writes are checked against.

The records of work that is done are deleted: what it made is in the object store. Those of failed
work stay, for the error that it ended with.

DBOS keeps one set of workflows per process, and so does this module: one Durable is launched at a
time. Workflows run on the event loop that launched it.
"""

import asyncio
import contextvars
import logging
import threading
from collections.abc import Set
from dataclasses import replace
from typing import Any

from dbos import DBOS, SetWorkflowID
from sqlalchemy.exc import IntegrityError

from gateway.durable.engine import Engine
from gateway.durable.peers import Describe
from gateway.durable.records import (
    DONE,
    PENDING,
    WORKFLOW,
    Run,
    cancelled_among,
    delete_runs,
    done_subjects,
    newest_run,
    open_runs,
    outcome_of,
)
from gateway.durable.runs import Handler, Runs
from gateway.durable.serializer import RecordedError
from gateway.durable.sharing import peers_of
from gateway.durable.state import State
from gateway.durable.watch import Watch
from servicekit.errors import Precondition, ServiceError

# Raise it when steps change their order or meaning: older work is then started anew.
VERSION = "7"
_EVERY_STEP, _PAUSE = 2**31 - 1, 1.0
_log = logging.getLogger(__name__)


class Durable:
    """Starts, resumes, cancels and looks at durable work."""

    def __init__(
        self,
        database_url: str,
        executor_id: str,
        handler: Handler,
        *,
        lease_seconds: float = 30.0,
        describe: Describe = lambda subject: b"",
        closing: threading.Event | None = None,
        watch: Watch | None = None,
    ) -> None:
        """`describe` is what other gateways are told of the progress of a subject. `closing` is set
        while work is interrupted to be gone on with, here or elsewhere, rather than cancelled."""
        self._engine = Engine(database_url, lease_seconds / 3)
        self._peers = peers_of(database_url, executor_id, lease_seconds, describe)
        self._watch = watch or Watch()
        self._runs = Runs(handler, self._peers, self._forget_later, self._watch)
        self._closing = closing or threading.Event()
        self._tending: list[asyncio.Task[None]] = []
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
        await self._open()
        self._tending = [asyncio.create_task(self._keep()), asyncio.create_task(self._tend())]

    async def close(self) -> None:
        """Interrupts all work; it goes on at the next launch, or at another gateway."""
        global _launched
        if _launched is not self:
            return
        for task in self._tending:
            task.cancel()
        await asyncio.gather(*self._tending, return_exceptions=True)
        await self._stop()
        _launched = None

    async def is_serving(self) -> bool:
        """Says whether it can do and look at work now."""
        return self._engine.is_open

    def holds(self) -> bool:
        """Says whether this gateway may write for its work: nobody can have taken it over."""
        return self._peers.holds()

    async def _open(self) -> None:
        with self._engine.usable():
            await self._engine.prepare()
            executor_id = await self._peers.join(VERSION)
            self._closing.clear()
            self._runs.open()
            self._engine.launch(executor_id, VERSION)
            await self._take_over()
            for subject in await done_subjects():
                self._forget_later(subject)

    async def _stop(self) -> None:
        self._engine.is_open = False
        self._closing.set()
        for task in self._forgetting:
            task.cancel()
        await asyncio.gather(self._runs.interrupt(), *self._forgetting, return_exceptions=True)
        await self._engine.close()
        await self._peers.leave()

    async def _keep(self) -> None:
        """Stops all work once this gateway has lost its lease, and starts again."""
        while True:
            why = await self._peers.kept()
            self._watch.lost_lease()
            _log.error("this gateway stops its work, which others may take over: %s", why)
            while True:
                await self._stop()
                try:
                    await self._open()
                    break
                except ServiceError as error:
                    _log.warning("%s", error.message)
                except Exception:  # Whatever it is, the next try may find it gone.
                    _log.exception("this gateway cannot start again")
                await asyncio.sleep(_PAUSE)
            _log.warning("this gateway works again")

    async def _tend(self) -> None:
        """Finds out again and again what others have cancelled and left behind."""
        while True:
            await asyncio.sleep(self._peers.pause)
            if not self._engine.is_open:
                continue
            try:
                with self._engine.answers():
                    self._runs.cancel(await cancelled_among(self._runs.ids))
                    await self._peers.note()
                    await self._take_over()
            except ServiceError as error:
                _log.warning("checking the other gateways is put off: %s", error.message)
            except Exception:  # It must go on whatever happens.
                _log.exception("checking the other gateways is put off")

    async def _take_over(self) -> None:
        """Puts the work of dead gateways back into the shared queue.

        Which live is asked after what is open: who is seen to have work has begun to live before.
        """
        runs = await open_runs()
        living = await self._peers.living()
        left = {run.executor_id: run for run in runs if run.status == PENDING}
        if dead := sorted(left.keys() - living.keys()):
            await asyncio.to_thread(DBOS._recover_pending_workflows, dead)
        for run in runs:
            # No gateway of its version lives that could go on with it.
            if run.version not in living.values() and await newest_run(run.subject) == run:
                await self.start(run.subject)

    async def start(self, subject: str) -> None:
        """Starts the work on `subject`, unless it runs. Work that ended starts again."""
        async with self._changing:
            with self._engine.answers():
                await self._start(subject)

    async def _start(self, subject: str) -> None:
        run = await newest_run(subject)
        if run.is_open:
            if not self._runs.failure(subject, run.id) and not await self._is_outdated(run):
                return
            # It ended, and the database had no room to say so; or no gateway can continue it.
            await DBOS.cancel_workflow_async(run.id)
        known = self._runs.failure(subject, run.id)
        goes_on = run.version == VERSION and (known or await outcome_of(run)).may_go_on
        self._runs.forget_failure(subject)
        with SetWorkflowID(run.next_id()):
            if not goes_on:
                await DBOS.start_workflow_async(_work, subject)
                return
            try:  # With the steps that were finished.
                await DBOS.fork_workflow_async(run.id, _EVERY_STEP, application_version=VERSION)
            except IntegrityError:
                _log.info("another gateway was also asked to continue %s, and does", subject)

    async def _is_outdated(self, run: Run) -> bool:
        """Says whether a run is of a version that no gateway has that lives."""
        if run.version == VERSION:
            return False
        return run.version not in (await self._peers.living()).values()

    async def state(self, subject: str) -> State | None:
        """Returns where the work on `subject` stands; None if it was never started."""
        if self._runs.are_of(subject):  # Callers poll; work in this process needs no database.
            return State("running")
        if subject in self._done:
            return State("done")
        async with self._changing:
            with self._engine.answers():
                run = await newest_run(subject)
                if failed := self._runs.failure(subject, run.id):
                    return failed
                lost = not run.number or run.version != VERSION
                if await self._is_outdated(run) if run.is_open else lost:
                    return None
                progress = await self._peers.progress(subject)
                return replace(await outcome_of(run), progress=progress)

    async def open_subjects(self) -> Set[str]:
        """Returns all that is worked on or waits for it, on any gateway."""
        with self._engine.answers():
            return {run.subject for run in await open_runs()}

    def works_on(self, subject: str) -> bool:
        """Says whether this process does the work on a subject now."""
        return self._runs.are_of(subject)

    async def cancel(self, subject: str) -> None:
        """Stops the work, on any gateway; what it had finished stays."""
        with self._engine.answers():
            run = await newest_run(subject)
            if run.is_open:
                await DBOS.cancel_workflow_async(run.id)
                self._runs.cancel([run.id])

    @property
    def subjects(self) -> Set[str]:
        """What is worked on in this process."""
        return self._runs.subjects

    async def run(self, subject: str) -> str:
        """Is the workflow. Returns the packed error, or nothing."""
        assert DBOS.workflow_id is not None
        return await self._runs.run(DBOS.workflow_id, subject)

    def _forget_later(self, subject: str, work: asyncio.Task[Any] | None = None) -> None:
        if work:
            self._done.add(subject)
        # Outside of the workflow's context, or DBOS would take it for a part of the workflow.
        task = asyncio.create_task(self._forget(subject, work), context=contextvars.Context())
        self._forgetting.add(task)
        task.add_done_callback(self._forgetting.discard)

    async def _forget(self, subject: str, work: asyncio.Task[Any] | None) -> None:
        """Deletes the records of all runs of a subject once the newest has ended well."""
        try:
            if work:
                await asyncio.wait({work})
            with self._engine.answers():
                run = await newest_run(subject)
                if run.status != DONE or (await outcome_of(run)).error:
                    return
                async with self._changing:
                    if await newest_run(subject) == run:
                        await delete_runs(run)
                        await self._peers.forget(subject)
        except (ServiceError, RecordedError) as error:
            # They are deleted at the next launch.
            _log.warning(
                "the records of %s are kept for now: %s", subject, str(error).splitlines()[0]
            )
        finally:
            self._done.discard(subject)


_launched: Durable | None = None


@DBOS.workflow(name=WORKFLOW, max_recovery_attempts=10_000)  # type: ignore[untyped-decorator]
async def _work(subject: str) -> str:
    assert _launched is not None
    return await _launched.run(subject)
