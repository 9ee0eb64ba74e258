"""Room in the cache, promised before anything is decoded."""

import asyncio

import grpc
import pytest

from servicekit.errors import Precondition
from tests.trainer.conftest import SYNTHETIC, connect, settings
from trainer.room import Room


def test_what_can_never_fit_is_refused_with_the_setting_and_a_number_that_is_enough():
    room = Room(10**9)
    room.check({"real": 400_000_000, "made": 600_000_000})
    with pytest.raises(Precondition) as refused:
        room.check({"real": 400_000_000, "made": 851_234_567})
    assert refused.value.reason == "CACHE_TOO_SMALL"
    assert "take 1.26 GB" in refused.value.message and "holds 1 GB" in refused.value.message
    assert "set TRAINER_CACHE_GIGABYTES to 1.26 or more" in refused.value.message


async def test_a_run_waits_until_its_images_fit_and_later_ones_wait_behind_it():
    room, order = Room(100), []
    first, done = asyncio.Event(), []

    async def run(name, entries, until=None):
        async with room.promised(entries):
            order.append(name)
            if until:
                await until.wait()
        done.append(name)

    tasks = [asyncio.create_task(run("one", {"real": 40, "a": 40}, first))]
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(run("shares", {"real": 40, "b": 20})))
    await asyncio.sleep(0.01)
    tasks.append(asyncio.create_task(run("large", {"real": 40, "c": 60})))
    tasks.append(asyncio.create_task(run("small", {"d": 1})))
    await asyncio.sleep(0.05)
    assert order == ["one", "shares"]
    first.set()
    await asyncio.wait_for(asyncio.gather(*tasks), 5)
    assert order == ["one", "shares", "large", "small"]


async def test_a_run_that_is_cancelled_while_it_waits_takes_no_room():
    room, hold = Room(100), asyncio.Event()

    async def run(entries, until=None):
        async with room.promised(entries):
            if until:
                await until.wait()

    first = asyncio.create_task(run({"a": 80}, hold))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(run({"b": 80}))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    hold.set()
    await first
    async with asyncio.timeout(5):  # It would wait for ever for what the cancelled one had taken.
        await run({"c": 100})
    assert waiting.cancelled()


async def test_a_run_whose_images_can_never_fit_is_refused_at_the_start(store, tmp_path, fails):
    small = settings(tmp_path, cache_gigabytes=0.0002)
    async with connect(small, store) as client:
        error = await fails(client.create("large", synthetic_manifest_uri=SYNTHETIC, image_size=64))
        assert error.code is grpc.StatusCode.FAILED_PRECONDITION
        assert "set TRAINER_CACHE_GIGABYTES to 0.01 or more" in error.message
        assert not (tmp_path / "images").exists()
        # 54 + 36 images of 16 pixels fit.
        run = {"synthetic_manifest_uri": SYNTHETIC, "image_size": 16}
        trained = await asyncio.gather(*(client.train(f"s-{n}", seed=n, **run) for n in range(2)))
    assert all(one.result.synthetic_image_count == 36 for one in trained)
