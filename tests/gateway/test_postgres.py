"""Durable work in a real PostgreSQL, as the component `postgres` of the manifests has it."""

import asyncio
import signal
import subprocess
import sys
from contextlib import asynccontextmanager

import pytest

from gateway.run.durable import Durable
from gateway.run.steps import step
from tests.postgres import Postgres

pytestmark = pytest.mark.servers
SUBJECT = "datasets/pets"

# A gateway that is killed after its first step.
PROGRAM = """
import asyncio, sys
from gateway.run.durable import Durable
from gateway.run.steps import step

async def work(subject):
    async def first():
        return 7
    await step("first", first)
    print("first is written", flush=True)
    await asyncio.Event().wait()

async def main():
    durable = Durable(sys.argv[1], "gateway-0", work)
    await durable.launch()
    await durable.start(sys.argv[2])
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
def postgres():
    with Postgres() as found:
        yield found


@asynccontextmanager
async def launched(postgres, handler, executor="gateway-0"):
    found = Durable(postgres.url, executor, handler)
    await found.launch()
    try:
        yield found
    finally:
        await found.close()


def killed_after_its_first_step(postgres):
    command = [sys.executable, "-c", PROGRAM, postgres.url, SUBJECT]
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

        made.append(await step("first", lambda: note("first again")))
        made.append(await step("second", lambda: note("second")))

    return work


async def test_a_killed_gateways_work_goes_on_after_its_last_step(postgres):
    await asyncio.to_thread(killed_after_its_first_step, postgres)
    made = []
    async with launched(postgres, two_steps(made)) as found:
        await until(is_over(found))
    assert made == [7, "second", 8]


async def test_a_gateway_of_another_name_leaves_the_work_alone(postgres):
    await asyncio.to_thread(killed_after_its_first_step, postgres)
    made = []
    async with launched(postgres, two_steps(made), executor="gateway-1"):
        await asyncio.sleep(1)
    assert made == []


async def test_work_outlives_a_crash_of_the_database(postgres):
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

    async with launched(postgres, work) as found:
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
