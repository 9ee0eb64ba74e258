"""An augmentation whose object store is a real S3 server that is killed in mid-job."""

import asyncio
import io
import threading
import time

import pyarrow.parquet as pq
import pytest
from google.longrunning.operations_pb2 import ListOperationsRequest

from tests.gateway.doubles import Trouble
from tests.gateway.pictures import write_folder
from tests.gateway.system import open_system
from tests.seaweed import Seaweed

pytestmark = pytest.mark.servers

RECIPE = {"images_per_class": 30, "deterministic": True, "check_safety": True, "seed": 5}


async def augment(state, root, store=None, meanwhile=lambda trouble: None):
    """Returns the finished augmentation, its store, and how many objects were made."""
    trouble = Trouble(pause=0.05, capacity=2, unsafe_share=0.2)
    wrap = (lambda _: store) if store else (lambda directory: directory)
    async with open_system(state, root, trouble=trouble, wrap=wrap) as system:
        await system.import_folder(root / "train", root / "test")
        operation = await system.start(**RECIPE)
        meanwhile(trouble)
        return await system.finish(operation), system.store, trouble.made


def rows_of(store, name):
    data = store.get(f"datasets/pets/augmentations/a1/{name}.parquet")
    return pq.read_table(io.BytesIO(data)).to_pylist()


@pytest.mark.parametrize("moment", [3, 40])
async def test_an_s3_server_killed_in_mid_job_costs_time_and_nothing_else(tmp_path, moment):
    write_folder(tmp_path / "train", count=4)
    write_folder(tmp_path / "test", count=2, tag="test")
    calm, _, _ = await augment(tmp_path / "calm", tmp_path)
    (tmp_path / "weed").mkdir()
    server = Seaweed(tmp_path / "weed")
    server.start()
    made_before: list[int] = []

    def outage(trouble):
        while trouble.made < moment:
            time.sleep(0.001)
        server.kill()
        made_before.append(trouble.made)
        time.sleep(1)
        server.start()

    crashes: list[threading.Thread] = []

    def crash(trouble):
        crashes.append(threading.Thread(target=outage, args=(trouble,)))
        crashes[0].start()

    try:
        made, store, count = await augment(tmp_path / "state", tmp_path, server.store(), crash)
        crashes[0].join()
        assert made_before[0] < 60, "the job was over before the server was killed"
        assert made.result.digest == calm.result.digest
        rows = [row for name in ("manifest", "rejected") for row in rows_of(store, name)]
        assert len({row["item_id"] for row in rows}) == len(rows)
        stored = {key.rpartition("/")[2] for key in store.list("generated/")}
        assert stored == {row["image_uri"].rpartition("/")[2] for row in rows}, "lost or twice"
        assert count in (len(stored), len(stored) - 1), "a put whose answer was lost counts not"
    finally:
        for thread in crashes:
            thread.join()
        server.kill()


async def test_a_job_that_outlived_its_patience_says_so_and_goes_on_when_asked_again(
    tmp_path, caplog
):
    write_folder(tmp_path / "train", count=4)
    write_folder(tmp_path / "test", count=2, tag="test")
    calm, _, _ = await augment(tmp_path / "calm", tmp_path)
    (tmp_path / "weed").mkdir()
    server = Seaweed(tmp_path / "weed")
    server.start()
    trouble = Trouble(pause=0.05, capacity=2, unsafe_share=0.2)
    settings = {
        "patience_seconds": 1.0,
        "wrap": lambda _: server.store(patience="1"),
    }
    try:
        async with open_system(tmp_path / "state", tmp_path, trouble=trouble, **settings) as system:
            await system.import_folder(tmp_path / "train", tmp_path / "test")
            await system.start(**RECIPE)
            await asyncio.sleep(0.5)
            server.kill()
            async with asyncio.timeout(60):
                while "augmentations/a1 failed: the store cannot be reached" not in caplog.text:
                    await asyncio.sleep(0.1)
            await asyncio.to_thread(server.start)
            await asyncio.to_thread(until_whole, server)
            operations = await system.operations.ListOperations(ListOperationsRequest(), timeout=20)
            [failed] = [one for one in operations.operations if "augmentations" in one.name]
            assert "the store cannot be reached" in failed.error.message
            made = await system.augment(**RECIPE)
            assert made.result.digest == calm.result.digest
            assert len(list(system.store.list("generated/"))) == 60 + made.result.rejected_count
    finally:
        server.kill()


def until_writable(server):
    server.store().put("writable", b"")


def until_whole(server):
    """Waits for what was stored before, too: the server finds it some time after it takes more."""
    until_writable(server)
    store = server.store()
    assert all(store.get(key) for key in store.list("datasets/"))
