import asyncio

import pytest

from captioner.streaming import map_unordered


async def numbers(count, read, failure=None):
    for number in range(count):
        read.append(number)
        yield number
    if failure:
        raise failure


async def test_every_request_is_answered_once():
    async def double(number):
        await asyncio.sleep(0.001 * (number % 3))
        return 2 * number

    answers = [a async for a in map_unordered(double, numbers(50, []), window=7)]
    assert sorted(answers) == [2 * number for number in range(50)]


async def test_the_next_request_is_read_only_when_there_is_room():
    read, gate = [], asyncio.Event()

    async def wait(number):
        await gate.wait()
        return number

    answers = map_unordered(wait, numbers(20, read), window=4)
    first = asyncio.create_task(anext(answers))
    await asyncio.sleep(0.05)
    assert read == [0, 1, 2, 3]
    gate.set()
    await first
    assert len([a async for a in answers]) == 19


async def test_what_was_read_before_the_stream_broke_is_answered_first():
    async def same(number):
        await asyncio.sleep(0.01)
        return number

    answers = []
    with pytest.raises(ValueError, match="broken"):
        async for answer in map_unordered(same, numbers(3, [], ValueError("broken")), window=8):
            answers.append(answer)
    assert sorted(answers) == [0, 1, 2]


async def test_work_stops_when_nobody_listens_any_more():
    stopped = []

    async def wait(number):
        try:
            await asyncio.sleep(0.05 if number == 0 else 60)
        except asyncio.CancelledError:
            stopped.append(number)
            raise
        return number

    answers = map_unordered(wait, numbers(5, []), window=3)
    assert await anext(answers) == 0
    await answers.aclose()
    assert sorted(stopped) == [1, 2]
