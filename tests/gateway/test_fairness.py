"""Turns for a place with room: never too much in it, nobody starves, and jobs share it fairly."""

import asyncio
from collections import Counter
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.clients.fairness import FairQueue


class Budget:
    """A queue for one place that holds `limit`; a lone call always fits."""

    def __init__(self, limit: int) -> None:
        self.used = 0
        self._limit = limit
        self._queue = FairQueue(self._find)

    def _find(self, size: int) -> "Budget | None":
        return self if not self.used or self.used + size <= self._limit else None

    @asynccontextmanager
    async def take(self, size: int, job: str = ""):
        place = await self._queue.enter(size, job)
        try:
            yield
        finally:
            self._queue.leave(place, size)


async def test_a_large_call_gets_its_turn_among_many_small_ones():
    budget, passed, done = Budget(32), Counter(), asyncio.Event()

    async def small():
        while not done.is_set():
            async with budget.take(13):
                passed["small"] += 1
                await asyncio.sleep(0.001)

    async def large():
        await asyncio.sleep(0.02)
        before = passed["small"]
        async with budget.take(32):
            done.set()
            return passed["small"] - before

    small_ones = [asyncio.create_task(small()) for _ in range(8)]
    overtaken = await asyncio.wait_for(large(), 10)
    await asyncio.gather(*small_ones)
    assert overtaken <= 8, "only those that had asked before"


async def test_jobs_get_the_same_number_of_items_whatever_their_calls_and_their_number():
    budget, given_to = Budget(64), Counter()

    async def call(job, size):
        async with budget.take(size, job):
            given_to[job] += size
            await asyncio.sleep(0)

    calls = [("first", 64)] * 100 + [("second", 8)] * 800 + [("third", 32)] * 200
    tasks = [asyncio.create_task(call(*one)) for one in calls]
    while sum(given_to.values()) < 6000:
        await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert max(given_to.values()) - min(given_to.values()) <= 128, given_to


async def test_a_job_that_waits_is_not_passed_for_ever_by_jobs_that_are_new():
    budget, passed = Budget(32), 0
    done = asyncio.Event()

    async def busy():
        for _ in range(4):
            async with budget.take(32, "busy"):
                await asyncio.sleep(0)
        done.set()

    async def newcomer(number):
        nonlocal passed
        async with budget.take(13, f"new {number}"):
            passed += 1
            await asyncio.sleep(0)

    async def newcomers():
        number = 0
        while not done.is_set():
            await asyncio.gather(*(newcomer(number + n) for n in range(6)))
            number += 6

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(newcomers())
        group.create_task(busy())
    assert passed < 60


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.integers(1, 20), st.sampled_from("abc"), st.booleans()), max_size=30),
    st.integers(1, 16),
)
def test_the_limit_holds_and_everybody_gets_in_though_some_give_up(calls, limit):
    async def main():
        budget, held, entered = Budget(limit), [], []

        async def call(number, size, job):
            async with budget.take(size, job):
                held.append(size)
                entered.append(number)
                try:
                    assert sum(held) <= limit or len(held) == 1
                    await asyncio.sleep(0)
                finally:
                    held.remove(size)

        tasks = [asyncio.create_task(call(n, s, j)) for n, (s, j, _) in enumerate(calls)]
        await asyncio.sleep(0)
        for task, (_, _, gives_up) in zip(tasks, calls, strict=True):
            if gives_up:
                task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert not [r for r in results if isinstance(r, Exception)], results
        stayed = {n for n, (_, _, gives_up) in enumerate(calls) if not gives_up}
        assert stayed <= set(entered)
        async with asyncio.timeout(1), budget.take(limit):
            assert not held

    asyncio.run(main())


async def test_an_error_inside_gives_the_room_back():
    budget = Budget(4)
    with pytest.raises(ValueError, match="inside"):
        async with budget.take(4):
            raise ValueError("inside")
    async with asyncio.timeout(1), budget.take(4):
        pass
