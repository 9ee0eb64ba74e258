"""Durable work by itself, on a SQLite file: cancelled, started again, left by another version."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from gateway.durable import durable
from gateway.durable.durable import Durable
from gateway.durable.steps import step

SUBJECT = "datasets/pets"


@asynccontextmanager
async def launched(path, handler):
    found = Durable(f"sqlite:///{path}/gateway.sqlite", "local", handler)
    await found.launch()
    try:
        yield found
    finally:
        await found.close()


async def until(holds):
    async with asyncio.timeout(20):
        while not await holds():
            await asyncio.sleep(0.02)


def is_in(found, status):
    async def holds():
        state = await found.state(SUBJECT)
        return state is not None and state.status == status

    return holds


def has(found, count):
    async def holds():
        return len(found.subjects) == count

    return holds


async def test_work_started_while_its_predecessor_is_cancelled_can_be_cancelled_itself(tmp_path):
    began, alive = [], set()

    async def stubborn(subject):
        number = len(began)
        began.append(number)
        assert not alive, "two runs of one subject at once"
        alive.add(number)
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.3)
            alive.discard(number)

    async def has_begun_twice():
        return len(began) == 2

    async with launched(tmp_path, stubborn) as found:
        await found.start(SUBJECT)
        await until(is_in(found, "running"))
        await asyncio.sleep(0.1)
        await found.cancel(SUBJECT)
        await found.start(SUBJECT)
        await until(has_begun_twice)
        await asyncio.sleep(0.5)
        assert (await found.state(SUBJECT)).status == "running"
        await found.cancel(SUBJECT)
        await until(is_in(found, "failed"))
        assert not alive


async def test_unfinished_work_is_counted_also_after_a_new_start(tmp_path):
    go = asyncio.Event()

    async def waits(subject):
        await go.wait()

    async with launched(tmp_path, waits) as found:
        assert len(found.subjects) == 0
        await found.start(SUBJECT)
        await until(has(found, 1))
    async with launched(tmp_path, waits) as found:
        await until(has(found, 1))
        go.set()
        await until(has(found, 0))


@pytest.mark.parametrize("version", [durable.VERSION, "another"])
async def test_work_that_was_interrupted_goes_on_at_the_next_launch(tmp_path, monkeypatch, version):
    runs = []

    async def forever(subject):
        await asyncio.Event().wait()

    async def quick(subject):
        async def count():
            runs.append(subject)

        await step("count", count)

    with monkeypatch.context() as changed:
        changed.setattr(durable, "VERSION", version)
        async with launched(tmp_path, forever) as found:
            await found.start(SUBJECT)
            await until(is_in(found, "running"))

    async def has_run():
        return runs == [SUBJECT]

    async def has_ended():
        state = await found.state(SUBJECT)
        return state is None or state.status == "done"  # records of what is done are deleted

    async with launched(tmp_path, quick) as found:
        await until(has_run)
        await until(has_ended)
    assert runs == [SUBJECT], "it ran once"
