"""Turns for places with room, shared out fairly among jobs."""

import asyncio
import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar


class Place(Protocol):
    """Where something can be in flight: `used` is how much is."""

    used: int


P = TypeVar("P", bound=Place)


@dataclass(order=True)
class _Turn(Generic[P]):
    """A caller that waits. Turns come by `tag`, equal ones by `number`."""

    tag: int
    number: int
    size: int = field(compare=False)
    job: str = field(compare=False)
    admitted: "asyncio.Future[P]" = field(compare=False)


class FairQueue(Generic[P]):
    """Lets callers in when `find` has a place for their size.

    The one whose turn it is waits for room, and none overtakes it, however small. Within a job
    turns come in the order of arrival; jobs that wait side by side get the same number of items
    (self-clocked fair queueing, Golestani 1994): a turn's tag is what its job has been given before
    it, and what has been given is forgotten when a job has nothing left to ask for.
    """

    def __init__(self, find: Callable[[int], P | None]) -> None:
        self._find = find
        self._clock = 0  # The tag of the newest turn that was taken.
        self._last: dict[str, int] = {}  # The newest tag of each job that is ahead of the clock.
        self._waiting: list[_Turn[P]] = []
        self._count = 0

    async def enter(self, size: int, job: str = "") -> P:
        """Waits for a turn and a place, and returns the place; `leave` gives it back."""
        turn = self._queue(size, job)
        self.admit()
        try:
            return await turn.admitted
        except asyncio.CancelledError:
            admitted = turn.admitted
            if not admitted.cancelled() and admitted.exception() is None:
                admitted.result().used -= size  # It was let in and cancelled at the same moment.
            self.admit()
            raise

    def leave(self, place: P, size: int) -> None:
        """Gives back what `enter` gave."""
        place.used -= size
        self.admit()

    def admit(self) -> None:
        """Lets in who can be; to be called whenever there may be more room."""
        while self._waiting:
            turn = self._waiting[0]
            gone = turn.admitted.cancelled()
            place = None if gone else self._find(turn.size)
            if place is None and not gone:
                return
            heapq.heappop(self._waiting)
            if place is None:
                continue
            place.used += turn.size
            self._clock = max(self._clock, turn.tag)
            if self._last.get(turn.job, 0) <= self._clock:
                self._last.pop(turn.job, None)
            turn.admitted.set_result(place)

    def fail(self, error: Exception) -> None:
        """Raises `error` in all that wait."""
        while self._waiting:
            turn = heapq.heappop(self._waiting)
            if not turn.admitted.done():
                turn.admitted.set_exception(error)

    def _queue(self, size: int, job: str) -> _Turn[P]:
        tag = self._last[job] = max(self._clock, self._last.get(job, 0)) + size
        self._count += 1
        turn: _Turn[P] = _Turn(
            tag, self._count, size, job, asyncio.get_running_loop().create_future()
        )
        heapq.heappush(self._waiting, turn)
        return turn
