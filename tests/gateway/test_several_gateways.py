"""Several gateways on one PostgreSQL: real processes, killed and frozen in the middle of work."""

import asyncio
import signal

import pytest

from tests.gateway.doubles import Trouble
from tests.gateway.gateways import sharing, until
from tests.gateway.pictures import write_folder

pytestmark = [pytest.mark.servers, pytest.mark.heavy]
RECIPE = {"method": "simple", "images_per_class": 20, "seed": 3}
IMAGES, SHARDS = 40, 10


@pytest.fixture
async def gateways(database_url, tmp_path):
    write_folder(tmp_path / "train")
    trouble = Trouble(gate=asyncio.Event(), free_calls=4)
    async with sharing(tmp_path, database_url, trouble) as found:
        yield found


async def begun(gateways, both, asked):
    """Asks gateways for the same work at once; returns it in its middle, with the one that does it
    and the other."""
    await asked[0].import_folder(gateways.folder / "train")
    operation, *others = await asyncio.gather(*(one.start(**RECIPE) for one in asked))
    assert {one.name for one in others} <= {operation.name}

    async def is_in_its_middle():
        done = gateways.recorded() == gateways.trouble.free_calls
        return done and gateways.trouble.waiting and len(gateways.owners()) == 1

    await until(is_in_its_middle)
    owners = gateways.owners()
    return operation, *sorted(both, key=lambda gateway: gateway.name not in owners)


async def seen(gateway, operation):
    """Waits until a gateway knows how far the work is, and returns that."""

    async def is_seen():
        return (await gateway.progress(operation)).stage == "generate"

    await until(is_seen)
    return await gateway.progress(operation)


def written(store):
    """What is in the store, and when each object was written."""
    return {key: store.root.joinpath(key).stat().st_mtime_ns for key in store.list("")}


async def test_the_work_of_a_killed_gateway_is_finished_by_another(gateways):
    trouble = gateways.trouble
    async with gateways.started("one", "two") as both:
        operation, one, two = await begun(gateways, both, both[:1])
        told = await seen(two, operation)
        assert (told.unit, told.total_count) == ("images", IMAGES)
        await one.kill()
        left = len(trouble.calls) - gateways.recorded()
        trouble.gate.set()
        made = await two.finish(operation)
    assert made.result.accepted_count == IMAGES == trouble.made, "complete, and nothing made twice"
    assert len(trouble.calls) <= SHARDS + left, "what was written down was asked for again"
    assert await two.has_said("has not renewed its lease; its work is taken over")


async def test_a_gateway_that_was_frozen_writes_no_more_and_says_why(gateways):
    trouble = gateways.trouble
    async with gateways.started("one", "two") as both:
        operation, one, two = await begun(gateways, both, both[:1])
        one.send(signal.SIGSTOP)

        async def is_taken_over():
            return gateways.owners() == {two.name}

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


async def test_what_two_are_asked_for_is_made_once_and_either_answers_and_cancels(gateways, fails):
    trouble, gateways.lease_seconds = gateways.trouble, 600
    async with gateways.started("one", "two") as both:
        operation, _, other = await begun(gateways, both, both)
        asked = [item for call in trouble.calls for item in call]
        assert len(asked) == len(set(asked)), "both work on it"
        error = await fails(other.start(**{**RECIPE, "seed": 4}))
        assert error.reason == "DIFFERENT_REQUEST"
        await seen(other, operation)
        await other.cancel(operation)

        async def has_stopped():
            return trouble.waiting == 0

        await until(has_stopped)
        for gateway in both:
            found = await gateway.finish(operation)
            assert found.error.code == 1 and "cancelled" in found.error.message
        trouble.gate.set()
        assert (await other.start(**RECIPE)).name == operation.name
        made = await other.finish(operation)
        assert made.result.accepted_count == IMAGES == trouble.made
        for gateway in both:
            assert await gateway.finish(operation) == made
