"""A bound on what is in flight, counted in items, and shared out fairly among jobs."""

import asyncio
import heapq
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(order=True)
class _Turn:
    """A caller that waits. Turns come by `tag`, equal ones by `number`."""

    tag: int
    number: int
    size: int = field(compare=False)
    job: str = field(compare=False)
    admitted: "asyncio.Future[None]" = field(compare=False)


class Budget:
    """Lets callers in while the sum of their sizes stays within `limit`; a lone one always.

    Whose turn it is waits for room and nobody overtakes it, however small. Within a job turns come
    in the order of arrival; jobs that wait side by side get the same number of items (self-clocked
    fair queueing, Golestani 1994): a turn's tag is what its job has been given before it, and what
    has been given is forgotten when a job has nothing left to ask for.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._clock = 0  # The tag of the newest turn that was taken.
        self._last: dict[str, int] = {}  # The newest tag of each job that is ahead of the clock.
        self._waiting: list[_Turn] = []
        self._number = 0

    @asynccontextmanager
    async def take(self, size: int, job: str = "") -> AsyncIterator[None]:
        """Holds `size` for a job while the block runs; waits for its turn and for room first."""
        turn = self._queue(size, job)
        self._admit()
        try:
            await turn.admitted
        except asyncio.CancelledError:
            if not turn.admitted.cancelled():  # It was let in and cancelled at the same moment.
                self._used -= size
            self._admit()
            raise
        try:
            yield
        finally:
            self._used -= size
            self._admit()

    def _queue(self, size: int, job: str) -> _Turn:
        tag = self._last[job] = max(self._clock, self._last.get(job, 0)) + size
        self._number += 1
        turn = _Turn(tag, self._number, size, job, asyncio.get_running_loop().create_future())
        heapq.heappush(self._waiting, turn)
        return turn

    def _admit(self) -> None:
        while self._waiting:
            turn = self._waiting[0]
            gone = turn.admitted.cancelled()
            if not gone and self._used and self._used + turn.size > self._limit:
                return
            heapq.heappop(self._waiting)
            if gone:
                continue
            self._used += turn.size
            self._clock = max(self._clock, turn.tag)
            if self._last.get(turn.job, 0) <= self._clock:
                self._last.pop(turn.job, None)
            turn.admitted.set_result(None)
