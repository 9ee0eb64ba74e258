"""A run of many images: the event loop answers all the while, and no item costs more for it."""

import asyncio
import gc
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from tests.gateway.pictures import write_folder
from tests.gateway.system import FIVE, open_system

CLASSES, PER_CLASS = 10, 10_000


@contextmanager
def five_services():
    """Five services that answer at once, in another process; gives their address."""
    command = [sys.executable, "-m", "tests.gateway.many"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process.stdout.readline().strip()
        process.stdin.close()


async def watch(lags):
    """Notes by how much the loop is late, every few milliseconds."""
    while True:
        began = time.perf_counter()
        await asyncio.sleep(0.005)
        lags.append(time.perf_counter() - began - 0.005)


@pytest.mark.slow
async def test_the_event_loop_is_never_late_in_a_run_of_100000_images(tmp_path):
    classes = [f"class{number}" for number in range(CLASSES)]
    train = write_folder(tmp_path / "train", classes=classes, count=2)
    lags = []
    with five_services() as target:
        settings = {**dict.fromkeys(FIVE, target), "shard_size": 32}
        async with open_system(tmp_path / "state", tmp_path, **settings) as system:
            await system.import_folder(train)
            gc.collect()
            watching = asyncio.create_task(watch(lags))
            operation = await system.start(method="simple", images_per_class=PER_CLASS)
            done = await system.finish(operation, timeout=600)
            watching.cancel()
    assert done.result.accepted_count == CLASSES * PER_CLASS
    assert done.result.rejected_count > 0
    late = sorted(lags)[-5:]
    print("latest:", late, "of", len(lags))
    assert late[-1] < 0.05, late
