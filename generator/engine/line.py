"""The waiting line before the worker: bounded, first come first served within a group."""

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from generator.engine.errors import EngineClosed, QueueFull
from generator.engine.items import Item, Made


@dataclass(eq=False)
class Ticket:
    """An item that waits. Its future stays cancellable until its image is finished."""

    item: Item
    future: "Future[Made]" = field(default_factory=Future)
    arrived: float = field(default_factory=time.monotonic)

    @property
    def group(self) -> Hashable:
        """Items of equal group share U-Net calls."""
        return (self.item.model, frozenset(self.item.artefacts), self.item.deterministic)


Job = Callable[[], None]
# Says of a ticket whether its group may begin, beside the groups that were taken before it.
MayBegin = Callable[[Ticket, Collection[Hashable]], bool]


class WaitingLine:
    """Tickets and jobs for one worker. A job runs between two denoising steps."""

    def __init__(self, max_tickets: int, max_wait_seconds: float) -> None:
        self._limit, self._max_wait = max_tickets, max_wait_seconds
        self._tickets: deque[Ticket] = deque()
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self.is_closed = False

    def __len__(self) -> int:
        with self._changed:
            self._forget_cancelled()
            return len(self._tickets)

    def waiting(self) -> tuple[int, int]:
        """Returns how many items wait, and how many denoising steps they want in all."""
        with self._changed:
            self._forget_cancelled()
            return len(self._tickets), sum(ticket.item.steps for ticket in self._tickets)

    def put(self, tickets: Sequence[Ticket]) -> None:
        """Adds all tickets or none. Raises QueueFull or EngineClosed."""
        with self._changed:
            self._refuse_if_closed()
            self._forget_cancelled()
            if len(self._tickets) + len(tickets) > self._limit:
                raise QueueFull(len(self._tickets), len(tickets), self._limit)
            self._tickets.extend(tickets)
            self._changed.notify()

    def put_job(self, job: Job) -> None:
        """Adds a job. Raises QueueFull or EngineClosed."""
        with self._changed:
            self._refuse_if_closed()
            if len(self._jobs) >= self._limit:
                raise QueueFull(len(self._jobs), 1, self._limit)
            self._jobs.append(job)
            self._changed.notify()

    def take(
        self, rooms: Mapping[Hashable, int], most: int, may_begin: MayBegin
    ) -> tuple[list[Job], dict[Hashable, list[Ticket]]]:
        """Returns the jobs, and the tickets that can begin now, by group.

        `rooms` says how many more items each group takes that is being denoised; others take
        `most`, if `may_begin`. With nothing under way it waits for work, and then shortly for
        company.
        """
        with self._changed:
            if not rooms:
                self._wait_for_work(most)
            jobs, self._jobs = list(self._jobs), deque()
            self._forget_cancelled()
            return jobs, self._take_groups(dict(rooms), most, may_begin)

    def close(self) -> list[Ticket]:
        """Refuses what comes from now on and returns the tickets that waited."""
        with self._changed:
            self.is_closed = True
            waiting, self._tickets = list(self._tickets), deque()
            self._changed.notify()
            return waiting

    def leftover_jobs(self) -> list[Job]:
        """Returns the jobs that were put before the line was closed."""
        with self._changed:
            jobs, self._jobs = list(self._jobs), deque()
            return jobs

    def _wait_for_work(self, room: int) -> None:
        while not (self._tickets or self._jobs or self.is_closed):
            self._changed.wait()
        while self._tickets and len(self._tickets) < room and not (self._jobs or self.is_closed):
            remaining = self._tickets[0].arrived + self._max_wait - time.monotonic()
            if remaining <= 0:
                return
            self._changed.wait(remaining)

    def _take_groups(
        self, rooms: dict[Hashable, int], most: int, may_begin: MayBegin
    ) -> dict[Hashable, list[Ticket]]:
        taken: dict[Hashable, list[Ticket]] = {}
        rest: deque[Ticket] = deque()
        for ticket in self._tickets:
            group = ticket.group
            if group not in rooms:
                rooms[group] = most if may_begin(ticket, taken) else 0
            if rooms[group] > 0:
                rooms[group] -= 1
                taken.setdefault(group, []).append(ticket)
            else:
                rest.append(ticket)
        self._tickets = rest
        return taken

    def _forget_cancelled(self) -> None:
        self._tickets = deque(t for t in self._tickets if not t.future.cancelled())

    def _refuse_if_closed(self) -> None:
        if self.is_closed:
            raise EngineClosed("the engine is shut down")
