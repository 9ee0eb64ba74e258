import asyncio
import threading
import time

import pytest

from servicekit.together import once, to_its_end, together


async def test_results_come_in_order_whatever_ends_first():
    async def after(seconds):
        await asyncio.sleep(seconds)
        return seconds

    assert await together(after(s) for s in (0.02, 0.0, 0.01)) == [0.02, 0.0, 0.01]
    assert await together([]) == []


async def test_the_first_failure_ends_the_others_before_it_is_raised():
    ended = []

    async def sibling():
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            ended.append("sibling")

    async def fails():
        await asyncio.sleep(0.01)
        raise ValueError("the first")

    with pytest.raises(ValueError, match="the first"):
        await together([sibling(), fails(), sibling()])
    assert ended == ["sibling", "sibling"]


async def test_cancelling_the_caller_ends_all():
    ended = []

    async def sibling():
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("sibling")

    task = asyncio.create_task(together([sibling(), sibling()]))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["sibling", "sibling"]


async def test_a_cancelled_caller_waits_for_its_thread_and_stops_it():
    stopping, ended = threading.Event(), []

    def write():
        stopping.wait(10)
        time.sleep(0.05)
        ended.append("thread")

    task = asyncio.create_task(to_its_end(write, stop=stopping.set))
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.sleep(0.02)
    task.cancel()  # Twice, as impatient callers do.
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["thread"]


async def test_a_thread_gives_its_result_and_its_error():
    assert await to_its_end(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await to_its_end(divmod, 7, 0)


async def test_what_is_done_once_is_done_by_the_first_of_those_who_ask_at_the_same_time():
    calls, begun, go_on = [], threading.Event(), threading.Event()

    @once
    def costly():
        calls.append(1)
        begun.set()
        assert go_on.wait(10)
        return "done"

    askers = [asyncio.create_task(asyncio.to_thread(costly)) for _ in range(4)]
    assert await asyncio.to_thread(begun.wait, 10)
    await asyncio.sleep(0.05)  # The others ask now.
    go_on.set()
    assert await asyncio.gather(*askers) == ["done"] * 4
    assert calls == [1]
