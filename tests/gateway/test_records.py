"""The records of durable work: there while it may be interrupted, gone when it is done."""

import asyncio
import sqlite3

import pytest

from gateway.durable.durable import Durable
from servicekit.errors import Exhausted
from tests.gateway.full_store import FullStore
from tests.gateway.pictures import write_folder
from tests.gateway.system import open_system

TABLES = ("workflow_status", "workflow_input", "workflow_output", "operation_outputs")


@pytest.fixture
def root(tmp_path):
    write_folder(tmp_path / "train")
    return tmp_path


def records(root):
    with sqlite3.connect(root / "state" / "gateway.sqlite") as database:
        return {
            table: database.execute(f"select count(*) from {table}").fetchone()[0]
            for table in TABLES
        }


async def no_records(root):
    async with asyncio.timeout(20):
        while any(records(root).values()):
            await asyncio.sleep(0.05)


async def test_finished_work_leaves_no_records_and_is_answered_again(root):
    async with open_system(root / "state", root) as system:
        await system.import_folder(root / "train")
        made = await system.augment(images_per_class=20)
        count = system.trouble.made
        await no_records(root)
        again = await system.start(images_per_class=20)
        assert again.done
        assert await system.finish(again) == made
        assert system.trouble.made == count
        assert not any(records(root).values()), "asking again starts nothing"
        assert (await system.augment("a2", seed=9)).result.accepted_count == 6
        await no_records(root)


async def test_failed_work_keeps_its_error_until_it_is_done(root):
    async with open_system(root / "state", root, wrap=FullStore) as system:
        await system.import_folder(root / "train")
        system.store.word = "manifest.parquet"
        system.store.error = Exhausted("no space left to store it", reason="STORE_FULL")
        operation = await system.start()
        for _ in range(2):
            assert "no space left" in (await system.finish(operation)).error.message
        assert any(records(root).values())
        system.store.word = ""
        assert (await system.augment()).result.accepted_count == 6
        await no_records(root)


async def test_what_a_dead_process_left_of_finished_work_goes_at_the_next_start(root, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(Durable, "_forget_later", lambda self, subject, work=None: None)
        async with open_system(root / "state", root) as system:
            await system.import_folder(root / "train")
            made = await system.augment()
    assert records(root)["operation_outputs"]
    async with open_system(root / "state", root) as system:
        await no_records(root)
        assert await system.augment() == made
