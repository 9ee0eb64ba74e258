"""What a service says of the work before it: counted at one moment, and shown among its metrics."""

import asyncio
import threading
import time
from dataclasses import replace

import pytest

from servicekit.batching import MicroBatcher
from servicekit.server import running
from servicekit.workload import Pace, Workload
from tests.servicekit.echo import echo

_WAIT = 10


async def until(holds):
    async with asyncio.timeout(_WAIT):
        while not holds():
            await asyncio.sleep(0.005)


async def test_a_batcher_tells_what_waits_what_runs_and_how_long_it_will_take():
    go = threading.Event()

    def run(batch):
        go.wait(_WAIT)
        time.sleep(0.05 * len(batch))
        return batch

    work = MicroBatcher(run, max_batch=4, max_wait_seconds=0.0, max_queue=100, name="test")
    assert work.workload() == Workload(0, 0, 0, 4, 0.0)
    tasks = [asyncio.create_task(work.submit(number)) for number in range(2)]
    await until(lambda: work.workload().running_count > 0)
    tasks += [asyncio.create_task(work.submit(number)) for number in range(10)]
    await until(lambda: sum((work.workload().waiting_count, work.workload().running_count)) == 12)
    assert work.workload().seconds_waiting == 0.0, "nothing was finished, so nothing is known"
    go.set()
    await until(lambda: work.workload().seconds_waiting > 0)
    found = work.workload()
    each = found.seconds_waiting / found.waiting_count
    assert 0.04 < each < 0.2
    await asyncio.gather(*tasks)
    await until(lambda: work.workload().running_count == 0)
    ended = work.workload()
    assert (ended.waiting_count, ended.seconds_waiting) == (0, 0.0)
    assert ended.last_batch in (1, 2, 3, 4)
    await work.close()


def test_a_pace_follows_a_change_within_some_ten_measurements():
    pace = Pace()
    pace.note(2.0, 4)
    assert pace.seconds == 0.5
    for _ in range(20):
        pace.note(4.0, 4)
    assert pace.seconds == pytest.approx(1.0, abs=0.1)


async def test_the_metrics_of_a_service_tell_its_workload_once_it_is_loaded():
    said = [None]
    service = replace(echo(), workload=lambda: said[0])
    async with running(service) as server:

        def shown(name):
            return server.metrics.registry.get_sample_value(f"variegate_captioner_{name}")

        assert shown("items_waiting") is None
        said[0] = Workload(7, 3, 6, 8, 12.5)
        assert shown("items_waiting") == 7
        assert shown("items_running") == 3
        assert shown("batch_fill") == 0.75
        assert shown("seconds_waiting") == 12.5
        assert shown("load") == 1.25
