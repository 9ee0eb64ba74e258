import asyncio

import pytest

from servicekit.together import together


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
