"""The runs of work in this process: which there are, and what those came to that have ended."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Set
from typing import Any

from dbos import error as dbos_error

from gateway.durable.peers import Peers
from gateway.durable.records import subject_of
from gateway.durable.state import State, pack, unpack
from gateway.durable.watch import Watch
from servicekit.errors import ServiceError

_LOST = (dbos_error.DBOSWorkflowConflictIDError, dbos_error.DBOSWorkflowCancelledError)
Handler = Callable[[str], Awaitable[None]]
_log = logging.getLogger(__name__)


class Runs:
    """Runs the handler, never twice at once for one subject."""

    def __init__(
        self,
        handler: Handler,
        peers: Peers,
        done: Callable[[str, asyncio.Task[Any]], None],
        watch: Watch,
    ) -> None:
        """`done` is called with each subject that is done, and with the task that still says so."""
        self._handler, self._peers, self._done, self._watch = handler, peers, done, watch
        self._tasks: dict[str, asyncio.Task[Any]] = {}
        self._may_begin = False
        # By subject, with the run: known here even if the database had no room to write it down.
        self._failed: dict[str, tuple[str, State]] = {}

    async def run(self, run_id: str, subject: str) -> str:
        """Runs the handler. Returns the packed error, or nothing."""
        task = asyncio.current_task()
        assert task is not None
        if not self._may_begin:  # DBOS has begun it while all were stopped.
            raise asyncio.CancelledError
        before = [self._tasks[one] for one in self._of(subject)]
        self._tasks[run_id] = task
        try:
            if before:  # It was cancelled and has not ended yet.
                await asyncio.wait(before)
            async with self._peers.claimed(subject):
                await self._handler(subject)
        except _LOST as error:
            cancelled = isinstance(error, dbos_error.DBOSWorkflowCancelledError)
            why = "it was cancelled" if cancelled else "another gateway has taken it over"
            _log.warning("the work on %s ends here and writes nothing further: %s", subject, why)
            if cancelled:
                self._watch.ended("CANCELLED")
            # DBOS would wait for what another makes of it.
            raise asyncio.CancelledError from None
        except Exception as error:
            return self._fail(run_id, subject, error)
        finally:
            if self._tasks.get(run_id) is task:
                del self._tasks[run_id]
        self._watch.ended("DONE")
        self._done(subject, task)
        return ""

    def _fail(self, run_id: str, subject: str, error: Exception) -> str:
        if isinstance(error, ServiceError):
            _log.warning("%s failed: %s", subject, error.message)
        else:
            _log.error("%s failed", subject, exc_info=error)
        if not self._peers.holds():  # Then it is not the work that failed.
            raise asyncio.CancelledError
        self._watch.ended(error.reason if isinstance(error, ServiceError) else "INTERNAL")
        packed = pack(error)
        self._failed[subject] = run_id, State("failed", unpack(packed), time.time())
        return packed

    @property
    def subjects(self) -> Set[str]:
        """What is worked on here."""
        return {subject_of(run_id) for run_id in list(self._tasks)}

    def are_of(self, subject: str) -> bool:
        """Says whether the subject is worked on here."""
        return bool(self._of(subject))

    def _of(self, subject: str) -> list[str]:
        return [run_id for run_id in self._tasks if subject_of(run_id) == subject]

    def failure(self, subject: str, run_id: str = "") -> State | None:
        """Returns what a subject's newest run here failed with, if it is this one or any."""
        failed_id, state = self._failed.get(subject, ("", None))
        return state if not run_id or run_id == failed_id else None

    def forget_failure(self, subject: str) -> None:
        """Is told that the subject is worked on again."""
        self._failed.pop(subject, None)

    @property
    def ids(self) -> Collection[str]:
        """The runs that have not ended."""
        return list(self._tasks)

    def cancel(self, run_ids: Collection[str]) -> None:
        """Stops those that are here."""
        for run_id in run_ids:
            if task := self._tasks.get(run_id):
                task.cancel()

    def open(self) -> None:
        """Lets runs begin."""
        self._may_begin = True

    async def interrupt(self) -> None:
        """Stops all, waits for their end, and lets none begin."""
        self._may_begin = False
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
