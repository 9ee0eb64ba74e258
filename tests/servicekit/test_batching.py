import asyncio
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servicekit.batching import MicroBatcher
from servicekit.errors import Exhausted, Unavailable


def batcher(run, **options):
    defaults = {"max_batch": 4, "max_wait_seconds": 0.02, "max_queue": 100, "name": "test"}
    return MicroBatcher(run, **{**defaults, **options})


@settings(deadline=None, max_examples=20)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers()), max_size=30), st.integers(1, 8))
def test_every_item_gets_its_own_result_and_batches_share_a_key(items, max_batch):
    batches = []

    def run(batch):
        batches.append(batch)
        return [("done", *item) for item in batch]

    async def main():
        work = batcher(run, max_batch=max_batch, max_wait_seconds=0.001, key=lambda item: item[0])
        results = await asyncio.gather(*(work.submit(item) for item in items))
        await work.close()
        return results

    assert asyncio.run(main()) == [("done", *item) for item in items]
    assert all(len({key for key, _ in batch}) == 1 for batch in batches)
    assert all(len(batch) <= max_batch for batch in batches)


async def test_concurrent_items_share_a_batch():
    work = batcher(list)
    await asyncio.gather(*(work.submit(i) for i in range(8)))
    stats = work.stats()
    await work.close()
    assert (stats.item_count, stats.batch_count) == (8, 2)


async def test_one_failing_item_leaves_its_neighbours_alone():
    work = batcher(lambda batch: [ValueError("bad") if i == 1 else i for i in batch])
    results = await asyncio.gather(*(work.submit(i) for i in range(3)), return_exceptions=True)
    await work.close()
    assert (results[0], results[2]) == (0, 2)
    assert isinstance(results[1], ValueError)


async def test_a_failing_batch_fails_its_items_and_the_next_one_runs():
    def run(batch):
        if 0 in batch:
            raise ValueError("bad")
        return batch

    work = batcher(run)
    with pytest.raises(ValueError, match="bad"):
        await work.submit(0)
    assert await work.submit(1) == 1
    await work.close()


async def test_a_full_queue_refuses_with_a_time_to_come_back():
    gate = threading.Event()
    work = batcher(lambda batch: gate.wait() and batch, max_batch=1, max_queue=2)
    first = work.submit_future(0)
    while not first.running():
        await asyncio.sleep(0.005)
    waiting = [work.submit_future(i) for i in (1, 2)]
    with pytest.raises(Exhausted, match="2 items waiting") as caught:
        await work.submit(3)
    assert caught.value.retry_after > 0
    gate.set()
    assert [f.result(5) for f in waiting] == [1, 2]
    await work.close()


async def test_a_cancelled_item_is_not_run():
    gate, ran = threading.Event(), []

    def run(batch):
        gate.wait()
        ran.extend(batch)
        return batch

    work = batcher(run, max_batch=1)
    first = work.submit_future(0)
    while not first.running():
        await asyncio.sleep(0.005)
    task = asyncio.create_task(work.submit(1))
    await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    gate.set()
    await work.submit(2)
    await work.close()
    assert ran == [0, 2]


async def test_a_closed_batcher_refuses_items():
    work = batcher(list)
    await work.close()
    with pytest.raises(Unavailable, match="shutting down"):
        await work.submit(1)
