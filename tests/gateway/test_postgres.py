"""Durable work in a real PostgreSQL, as the component `postgres` of the manifests has it."""

import asyncio
import signal
import subprocess
import sys
import threading
from contextlib import asynccontextmanager

import pytest

from gateway.durable.durable import Durable
from gateway.durable.steps import step
from servicekit.errors import Unavailable

pytestmark = pytest.mark.servers
SUBJECT = "datasets/pets"
LEASE = 2.0

# A gateway that is killed after its first step.
PROGRAM = """
import asyncio, sys
from gateway.durable.durable import Durable
from gateway.durable.steps import step

async def work(subject):
    async def first():
        return 7
    await step("first", first)
    print("first is written", flush=True)
    await asyncio.Event().wait()

async def main():
    durable = Durable(sys.argv[1], "gateway-0", work, lease_seconds=2)
    await durable.launch()
    await durable.start(sys.argv[2])
    await asyncio.Event().wait()

asyncio.run(main())
"""


@asynccontextmanager
async def launched(database_url, handler, lease=LEASE):
    found = Durable(database_url, "gateway-0", handler, lease_seconds=lease)
    await found.launch()
    try:
        yield found
    finally:
        await found.close()


def killed_after_its_first_step(database_url):
    command = [sys.executable, "-c", PROGRAM, database_url, SUBJECT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "first is written\n"
        process.send_signal(signal.SIGKILL)


async def until(holds, seconds=60):
    async with asyncio.timeout(seconds):
        while not await holds():
            await asyncio.sleep(0.05)


def is_over(found):
    async def holds():
        state = await found.state(SUBJECT)
        return state is None or state.status == "done"

    return holds


def two_steps(made):
    async def work(subject):
        async def note(what):
            made.append(what)
            return 8

        made.append(await step("first", lambda: note("first one again")))
        made.append(await step("second", lambda: note("second")))

    return work


async def test_a_killed_gateways_work_goes_on_after_its_last_step(database_url):
    await asyncio.to_thread(killed_after_its_first_step, database_url)
    made = []
    async with launched(database_url, two_steps(made)) as found:
        await until(is_over(found))
    assert made == [7, "second", 8]


async def test_a_gateway_that_ends_leaves_its_work_at_once(database_url):
    began, made = asyncio.Event(), []

    async def stuck(subject):
        began.set()
        await asyncio.Event().wait()

    async with launched(database_url, stuck, lease=3600) as one:
        await one.start(SUBJECT)
        await began.wait()
    async with launched(database_url, two_steps(made)) as found:
        await until(is_over(found))
    assert made == ["first one again", 8, "second", 8]


async def test_work_outlives_a_crash_of_the_database(postgres, database_url):
    crashed, made = asyncio.Event(), []

    async def work(subject):
        async def first():
            made.append("first")

        await step("first", first)
        await crashed.wait()
        made.append("goes on")

        async def second():
            made.append("second")

        await step("second", second)

    async with launched(database_url, work, lease=3600) as found:
        await found.start(SUBJECT)

        async def has_begun():
            return made == ["first"]

        await until(has_begun)
        await asyncio.to_thread(postgres.crash)
        crashed.set()
        await asyncio.sleep(0.5)
        await asyncio.to_thread(postgres.start)
        await until(is_over(found))
    assert made == ["first", "goes on", "second"]


async def test_without_its_database_a_gateway_stops_before_others_may_take_over(
    postgres, database_url
):
    crashed, began, made, ended = asyncio.Event(), asyncio.Event(), [], []

    async def work(subject):
        async def first():
            made.append("first")
            return 7

        made.append(await step("first", first))
        began.set()
        try:
            await crashed.wait()
        except asyncio.CancelledError:
            ended.append(closing.is_set())
            raise

    closing = threading.Event()
    found = Durable(database_url, "gateway-0", work, lease_seconds=LEASE, closing=closing)
    await found.launch()
    try:
        await found.start(SUBJECT)
        await began.wait()
        await asyncio.to_thread(postgres.crash)

        async def has_stopped():
            return not await found.is_serving()

        await until(has_stopped)
        assert ended in ([], [True]), "interrupted, not cancelled"
        assert not found.holds(), "and what it still writes is refused"
        with pytest.raises(Unavailable, match="repeat the request"):
            await found.cancel(SUBJECT)
        crashed.set()
        await asyncio.to_thread(postgres.start)
        await until(found.is_serving)
        await until(is_over(found))
    finally:
        await found.close()
    assert (made, ended) == (["first", 7, 7], [True])
