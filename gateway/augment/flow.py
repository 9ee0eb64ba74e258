"""How far shards run ahead: as fast as generators and screeners take them, and no faster."""

import asyncio
from collections import Counter
from enum import Enum

from gateway.clients import Clients


class Stage(Enum):
    """Where a shard is."""

    QUEUED = "has images that no generator works on yet"
    MAKING = "all its images are at generators"
    MADE = "waits for a screener"
    SCREENING = "is screened"


class Shard:
    """One shard's way through the stages. A context manager: what ends in any way is through."""

    def __init__(self, flow: "Flow") -> None:
        self._flow = flow
        self._stage: Stage | None = Stage.QUEUED

    def reaches(self, stage: Stage | None) -> None:
        """Notes that the shard is in another stage; None is through."""
        self._flow.move(self._stage, stage)
        self._stage = stage

    def __enter__(self) -> "Shard":
        return self

    def __exit__(self, *error: object) -> None:
        self.reaches(None)


class Flow:
    """Says when the next shard of an augmentation may begin.

    Generators and screeners have queues of their own. A shard begins while few wait in front of
    each: so many that none who works is ever without work, however many there are by now, and no
    more, because what waits is held in memory.
    """

    def __init__(self, clients: Clients, shard_size: int) -> None:
        self._generators, self._screeners = clients.generator.replicas, clients.screener.replicas
        self._shard_size = shard_size
        self._in: Counter[Stage | None] = Counter()
        self._changed = asyncio.Event()

    async def begin(self) -> Shard:
        """Waits until a shard may begin, and returns it."""
        while not self._may_begin():
            self._changed.clear()
            await self._changed.wait()
        self._in[Stage.QUEUED] += 1
        return Shard(self)

    def move(self, before: Stage | None, after: Stage | None) -> None:
        """Counts a shard that goes from one stage to another."""
        self._in[before] -= 1
        self._in[after] += 1
        self._changed.set()

    def _may_begin(self) -> bool:
        # A quarter of what is worked on: drafting and encoding take less time than making it.
        ahead = 1 + -(-self._generators.capacity() // (4 * self._shard_size))
        unscreened = max(2, self._screeners.capacity())
        return self._in[Stage.QUEUED] <= ahead and self._in[Stage.MADE] <= unscreened
