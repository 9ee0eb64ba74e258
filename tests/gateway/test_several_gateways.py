"""Several gateways on one PostgreSQL: real processes, killed and frozen in the middle of work."""

import asyncio
import signal

import pytest

from tests.gateway.doubles import Trouble
from tests.gateway.gateways import sharing, until
from tests.gateway.pictures import write_folder
from tests.postgres import Postgres

pytestmark = pytest.mark.servers
RECIPE = {"method": "simple", "images_per_class": 20, "seed": 3}
IMAGES, SHARDS = 40, 10


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as found:
        yield found


@pytest.fixture
async def gateways(postgres, tmp_path):
    write_folder(tmp_path / "train")
    trouble = Trouble(gate=asyncio.Event(), free_calls=4)
    async with sharing(tmp_path, postgres.new_database(), trouble) as found:
        yield found


async def begun(gateways, one, other):
    """Starts work on one gateway; returns it in its middle, once the other sees how far it is."""
    await one.import_folder(gateways.folder / "train")
    operation = await one.start(**RECIPE)

    async def is_seen():
        _, told = await other.progress(operation)
        free = gateways.trouble.free_calls
        return (told.stage, gateways.recorded()) == ("generate", free) and gateways.trouble.waiting

    await until(is_seen)
    return operation


def written(store):
    """What is in the store, and when each object was written."""
    return {key: store.root.joinpath(key).stat().st_mtime_ns for key in store.list("")}


async def test_the_work_of_a_killed_gateway_is_finished_by_another(gateways):
    trouble = gateways.trouble
    async with gateways.started("one", "two") as (one, two):
        operation = await begun(gateways, one, two)
        _, told = await two.progress(operation)
        assert (told.unit, told.total_count) == ("images", IMAGES)
        assert gateways.owners() == {"one"}
        await one.kill()
        left = len(trouble.calls) - gateways.recorded()
        trouble.gate.set()
        made = await two.finish(operation)
    assert made.result.accepted_count == IMAGES == trouble.made, "complete, and nothing made twice"
    assert len(trouble.calls) <= SHARDS + left, "what was written down was asked for again"
    assert await two.has_said("has not renewed its lease; its work is taken over")


async def test_a_gateway_that_was_frozen_writes_no_more_and_says_why(gateways):
    trouble = gateways.trouble
    async with gateways.started("one", "two") as (one, two):
        operation = await begun(gateways, one, two)
        one.send(signal.SIGSTOP)

        async def is_taken_over():
            return gateways.owners() == {"two"}

        await until(is_taken_over)
        trouble.gate.set()
        made = await two.finish(operation)
        assert made.result.accepted_count == IMAGES == trouble.made
        before = written(gateways.store)
        one.send(signal.SIGCONT)
        await until(lambda: one.has_said("this gateway works again"))
        assert await one.has_said("this gateway stops its work, which others may take over")
        assert written(gateways.store) == before
        assert (await one.finish(operation)) == made, "it answers what the other made"
        assert (await one.augment("a2", **RECIPE)).result.accepted_count == IMAGES


async def test_any_gateway_answers_goes_on_with_and_cancels_the_work_of_another(gateways, fails):
    trouble = gateways.trouble
    async with gateways.started("one", "two") as (one, two):
        operation = await begun(gateways, one, two)
        assert (await two.start(**RECIPE)).name == operation.name
        error = await fails(two.start(**{**RECIPE, "seed": 4}))
        assert error.reason == "DIFFERENT_REQUEST"
        await two.cancel(operation)

        async def has_stopped():
            return trouble.waiting == 0

        await until(has_stopped)
        for gateway in (one, two):
            found = await gateway.finish(operation)
            assert found.error.code == 1 and "cancelled" in found.error.message
        trouble.gate.set()
        assert (await two.start(**RECIPE)).name == operation.name
        made = await two.finish(operation)
        assert made.result.accepted_count == IMAGES == trouble.made
        assert await one.finish(operation) == made


async def test_gateways_that_are_asked_for_the_same_at_once_make_it_once(gateways):
    trouble = gateways.trouble
    trouble.gate.set()
    async with gateways.started("one", "two") as both:
        await both[0].import_folder(gateways.folder / "train")
        asked = [gateway.start(f"a{n}", **RECIPE) for n in range(4) for gateway in both]
        operations = await asyncio.gather(*asked)
        assert len({operation.name for operation in operations}) == 4
        made = [await both[n % 2].finish(one) for n, one in enumerate(operations)]
        assert {one.result.accepted_count for one in made} == {IMAGES}
    assert len(trouble.calls) == 4 * SHARDS, "each shard once"
