"""A run of many images: the event loop answers all the while, and no item costs more for it."""

import asyncio
import gc

import pytest

from servicekit.loading import settle_memory
from tests.gateway.large import Beats, five_services
from tests.gateway.pictures import write_folder
from tests.gateway.system import FIVE, open_system

CLASSES, PER_CLASS = 10, 10_000


@pytest.mark.slow
@pytest.mark.alone
async def test_the_event_loop_is_never_late_in_a_run_of_100000_images(tmp_path):
    classes = [f"class{number}" for number in range(CLASSES)]
    train = write_folder(tmp_path / "train", classes=classes, count=2)
    beats = Beats()
    with five_services() as target:
        settings = {**dict.fromkeys(FIVE, target), "shard_size": 32}
        async with open_system(tmp_path / "state", tmp_path, **settings) as system:
            await system.import_folder(train)
            settle_memory()
            watching = asyncio.create_task(beats.watch())
            operation = await system.start(method="simple", images_per_class=PER_CLASS)
            done = await system.finish(operation, timeout=600)
            watching.cancel()
            gc.unfreeze()
    assert done.result.accepted_count == CLASSES * PER_CLASS
    assert done.result.rejected_count > 0
    assert max(beats.worked) < 0.05, "work on the event loop took too long"
    assert max(beats.collected) < 0.25, "so much is alive that collecting garbage takes too long"
    late = sorted(beats.late)
    assert late[-len(late) // 500] < 0.05, late[-20:]
    assert late[-1] < 0.3, late[-20:]
