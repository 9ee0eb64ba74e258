"""`variegate gc`: what nothing names goes, while gateways work, and nothing that is needed does."""

import asyncio
import io
import json
import signal
import subprocess
import sys
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gateway.cli.main import main
from servicekit.storage import DirectoryStore, to_key
from tests.gateway.doubles import Trouble
from tests.gateway.pictures import write_pool
from tests.gateway.sweeping import OLD, age, key_of, put_garbage, swept
from tests.gateway.system import open_system, rows_of
from tests.seaweed import CREDENTIALS, Seaweed

RECIPE = {"images_per_class": 8, "deterministic": True, "seed": 5}


def whole(store, made):
    """Says whether every image that a result names is there."""
    uris = (made.result.manifest_uri, made.result.rejected_uri)
    rows = [row for uri in uris for row in rows_of(store, uri)]
    return rows and all(store.exists(to_key(row["image_uri"])) for row in rows if row["image_uri"])


async def test_what_nothing_names_is_freed_and_everything_else_stays(folders, tmp_path):
    root, train, test = folders
    pool = write_pool(tmp_path / "pool.parquet")
    async with open_system(tmp_path / "state", root) as system:
        store = system.store
        await system.import_folder(train, test)
        made = [
            await system.augment("a1", method="mvc:0.5,simple:0.5", **RECIPE),
            await system.augment("a2", method="retrieval", pool_uri=f"file://{pool}"),
        ]
        garbage = put_garbage(store)
        garbage.add("work/datasets/pets/augmentations/a1/0/left.json")
        store.put("work/datasets/pets/augmentations/a1/0/left.json", b"{}")
        age(store)
        store.put(key_of("young"), b"pixels")
        before = set(store.list(""))
        found = swept(store, delete=False)
        assert set(store.list("")) == before and found.discarded == 0
        assert found.free.count == len(garbage)
        assert (found.unknown.count, found.some_unknown) == (1, ["photos/mine.png"])
        assert found.kinds["generated images"].young.count == 1
        assert found.kinds["generated images"].free.oldest == OLD
        assert swept(store).discarded == len(garbage)
        assert set(store.list("")) == before - garbage
        assert swept(store).discarded == 0
        assert all(whole(store, one) for one in made)
        again = await system.augment("a1", method="mvc:0.5,simple:0.5", **RECIPE)
        assert again.result.digest == made[0].result.digest


async def test_work_that_runs_loses_nothing_however_old_it_is(folders, tmp_path):
    root, train, test = folders
    trouble = Trouble(gate=asyncio.Event(), free_calls=2)
    async with open_system(tmp_path / "state", root, trouble=trouble) as system:
        await system.import_folder(train, test)
        operation = await system.start(**RECIPE)
        while not trouble.waiting or sum("/shards/" in key for key in system.store.list("")) < 2:
            await asyncio.sleep(0.02)
        garbage = put_garbage(system.store)
        age(system.store)
        found = await asyncio.to_thread(swept, system.store)
        assert found.discarded == len(garbage)
        assert found.unfinished == {"datasets/pets/augmentations/a1"}
        trouble.gate.set()
        made = await system.finish(operation)
        assert whole(system.store, made) and made.result.accepted_count == 16
        rows = made.result.accepted_count + made.result.rejected_count
        assert trouble.made == rows, "nothing was made twice"


async def test_an_image_that_is_found_again_while_it_is_free_stays(folders, tmp_path):
    """A second augmentation of the same plan names images that only a lost one had made."""
    root, train, test = folders
    async with open_system(tmp_path / "state", root) as system:
        store = system.store
        await system.import_folder(train, test)
        made = await system.augment("a1", **RECIPE)
        for key in list(store.list("datasets/pets/augmentations/a1/")):
            store.delete(key)
        age(store)
        assert swept(store, delete=False).kinds["generated images"].free.count
        # The double stores as the generator does: what is there is found.
        again = await system.augment("a2", **RECIPE)
        assert again.result.digest == made.result.digest
        assert swept(store).kinds["generated images"].free.count == 0
        assert whole(store, again)


def variegate(*arguments):
    command = [sys.executable, "-m", "gateway.cli.main", "gc", *arguments, "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def named_and_free(store, count):
    """Fills a store with an augmentation's images and as many that nothing names."""
    images = [key_of(f"kept {number}") for number in range(count)]
    table = {"image_uri": [f"store:{key}" for key in images]}
    buffer = io.BytesIO()
    pq.write_table(pa.table(table), buffer)
    store.put("datasets/pets/augmentations/a1/manifest.parquet", buffer.getvalue())
    free = [key_of(f"free {number}") for number in range(count)]
    for key in (*images, *free):
        store.put(key, b"pixels")
    return set(images), set(free)


def test_one_that_is_killed_in_the_middle_has_taken_nothing_that_is_needed(tmp_path):
    store = DirectoryStore(tmp_path / "objects", durable=False)
    needed, free = named_and_free(store, 1500)
    age(store)
    url = (tmp_path / "objects").as_uri()
    first = variegate("--store", url, "--delete")
    there = set(free)
    while len(there) == len(free) and first.poll() is None:
        there = {key for key in free if store.exists(key)}
    first.send_signal(signal.SIGKILL)
    first.communicate()
    left = sum(map(store.exists, free))
    second = variegate("--store", url, "--delete")
    document = json.loads(second.communicate(timeout=60)[0])
    assert second.returncode == 0 and document["discarded_count"] == left < len(free)
    assert set(store.list("generated/")) == needed
    assert not list((tmp_path / "objects" / ".staging").iterdir())


@pytest.mark.servers
def test_a_bucket_is_swept_as_a_folder_is(tmp_path, monkeypatch):
    (tmp_path / "weed").mkdir()
    server = Seaweed(tmp_path / "weed")
    server.start()
    try:
        store = server.store()
        needed, free = named_and_free(store, 40)
        for name, value in CREDENTIALS.items():
            monkeypatch.setenv(name, value)
        dry = variegate("--store", server.url, "--delete")
        document = json.loads(dry.communicate(timeout=60)[0])
        assert document["free_count"] == 0, "all of it is young"
        soon = time.time() + 60
        found = swept(store, delete=False, before=soon)
        assert (found.free.count, found.discarded) == (len(free), 0)
        assert swept(store, before=soon).discarded == len(free)
        assert set(store.list("generated/")) == needed
    finally:
        server.kill()


def test_what_saves_time_goes_only_when_asked_for(tmp_path):
    store = DirectoryStore(tmp_path)
    key = f"captions/ab/ab{'0' * 62}.json"
    store.put(key, b'{"text": "a cat"}')
    age(store)
    assert swept(store).discarded == 0
    assert swept(store, caches=True).discarded == 1


def test_what_saves_time_stays_while_work_is_unfinished(tmp_path, capsys):
    store = DirectoryStore(tmp_path)
    caption, name = f"captions/ab/ab{'0' * 62}.json", "datasets/pets/augmentations/a1"
    store.put(caption, b'{"text": "a cat"}')
    store.put(f"{name}/request.json", b"{}")
    age(store)
    swept_too = ["gc", "--store", tmp_path.as_uri(), "--delete", "--caches"]
    with pytest.raises(SystemExit) as end:
        main(swept_too)
    assert end.value.code and store.exists(caption)
    said = " ".join(capsys.readouterr().err.split())
    assert f"{name} is not finished" in said and "leave out --caches" in said
    store.put(f"{name}/resource.json", b"{}")
    with pytest.raises(SystemExit) as end:
        main(swept_too)
    assert not end.value.code and not store.exists(caption)


def test_ages_that_could_hit_running_work_are_refused(tmp_path, capsys):
    for age_given in ("1h", "0d", "soon", ""):
        with pytest.raises(SystemExit) as end:
            main(["gc", "--store", tmp_path.as_uri(), "--older-than", age_given])
        assert end.value.code == 2
        assert "--older-than is" in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_no_store(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for given in ([], ["--store", (tmp_path / "none").as_uri()]):
        with pytest.raises(SystemExit) as end:
            main(["gc", *given])
        assert end.value.code == 3 and "store" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
