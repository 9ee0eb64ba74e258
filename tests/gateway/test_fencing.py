"""What one gateway may do is decided in PostgreSQL, whatever the gateway itself believes."""

import asyncio
import logging
from contextlib import asynccontextmanager

import psycopg
import pytest

from gateway.durable.durable import VERSION, Durable
from gateway.durable.fenced import FencedStore
from gateway.durable.fleet import Fleet
from gateway.durable.steps import step
from servicekit.errors import Unavailable
from servicekit.storage import MemoryStore

pytestmark = pytest.mark.servers
SUBJECT = "datasets/pets"


@asynccontextmanager
async def launched(database_url, handler):
    found = Durable(database_url, "one", handler, lease_seconds=600)
    await found.launch()
    try:
        yield found
    finally:
        await found.close()


def execute(database_url, statement):
    with psycopg.connect(database_url) as database:
        cursor = database.execute(statement)
        return cursor.fetchall() if cursor.description else []


def joined(database_url, name, seconds=600.0):
    """Returns what is agreed on in the database, once a gateway of that name lives."""
    fleet = Fleet(database_url, 60)
    fleet.join(name, VERSION, seconds)
    return fleet


async def until(holds):
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.05)


async def test_what_a_former_owner_made_is_not_written_down_and_it_says_why(database_url, caplog):
    began, goes_on, after = asyncio.Event(), asyncio.Event(), []

    async def work(subject):
        async def first():
            began.set()
            await goes_on.wait()

        await step("first", first)
        after.append("the next line")

    caplog.set_level(logging.WARNING)
    async with launched(database_url, work) as durable:
        await durable.start(SUBJECT)
        await began.wait()
        joined(database_url, "other").close()
        execute(
            database_url, "UPDATE dbos.workflow_status SET owner_xid = 'x', executor_id = 'other'"
        )
        goes_on.set()
        await until(lambda: "another gateway has taken it over" in caplog.text)
        assert (await durable.state(SUBJECT)).status == "running", "at the other one"
    assert not after
    assert not execute(database_url, "SELECT * FROM dbos.operation_outputs")
    assert execute(database_url, "SELECT status FROM dbos.workflow_status") == [("PENDING",)]


async def test_work_begins_once_nobody_else_holds_its_subject(database_url):
    began = []

    async def work(subject):
        began.append(subject)

    async with launched(database_url, work) as durable:
        fleet = joined(database_url, "other")
        assert fleet.claim("other", SUBJECT, "theirs")
        await durable.start(SUBJECT)
        await asyncio.sleep(1)
        assert not began
        fleet.leave("other")
        await until(lambda: began)
        fleet.close()
    assert began == [SUBJECT]


async def test_a_lease_that_ran_out_is_gone_for_good_and_so_is_what_it_gave_the_right_to(
    database_url,
):
    async with launched(database_url, None):
        fleet = joined(database_url, "late", seconds=0.0)
        assert not fleet.renew("late", 600), "it ran out"
        assert not fleet.claim("late", SUBJECT, "mine")
        fleet.bury()
        assert "late" not in fleet.living()
        assert not fleet.renew("late", 600)
        fleet.close()


async def test_a_gateway_that_lives_no_more_writes_nothing_into_the_store():
    lives, store = True, MemoryStore()
    fenced = FencedStore(store, lambda: lives)
    assert fenced.put("a", b"1") and fenced.get("a") == b"1"
    lives = False
    for write in (lambda: fenced.put("a", b"2", overwrite=True), lambda: fenced.delete("a")):
        with pytest.raises(Unavailable, match="lease has expired, so a is no longer written"):
            write()
    assert store.get("a") == b"1" == fenced.get("a")


async def test_work_of_a_version_that_no_living_gateway_has_starts_anew_and_of_others_is_left(
    database_url,
):
    began = []

    async def work(subject):
        began.append(subject)

    async with launched(database_url, work) as durable:
        fleet = joined(database_url, "newer")
        execute(
            database_url, "UPDATE variegate.lease SET version = 'next' WHERE executor_id = 'newer'"
        )
        execute(
            database_url,
            "INSERT INTO dbos.workflow_status (workflow_uuid, name, status, executor_id, "
            "application_version, application_name, owner_xid, priority, created_at, updated_at) "
            f"VALUES ('{SUBJECT}~1', 'gateway.work', 'PENDING', 'newer', 'next', "
            "'variegate-gateway', 'x', 0, 1, 1)",
        )
        await durable.start(SUBJECT)
        assert (await durable.state(SUBJECT)).status == "running"
        assert not began, "it is the other gateway's"
        fleet.leave("newer")
        await until(lambda: began)
        fleet.close()
    assert began == [SUBJECT]
