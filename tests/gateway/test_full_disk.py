"""A disk that is full in the middle of work: said at once, nothing half-written, gone on with."""

import contextlib
import os
import time

import grpc
import pyarrow.parquet as pq
import pytest

from servicekit.errors import Exhausted
from tests.gateway.doubles import Trouble
from tests.gateway.full_store import FullStore
from tests.gateway.system import open_system, rows_of
from tests.small_disk import grow

RECIPE = {"method": "simple", "images_per_class": 150, "seed": 3}


def whole(store):
    """Every image and manifest in the store can be read to its end."""
    for key in store.list(""):
        if key.endswith(".png"):
            assert store.get(key).endswith(b"IEND\xaeB`\x82")
        elif key.endswith(".parquet"):
            pq.read_table(store._path(key))
    return True


@pytest.mark.parametrize("kibibytes", [1200, 1500, 1800])
async def test_a_disk_that_fills_up_is_said_at_once_and_the_same_request_goes_on(
    folders, small_disk, kibibytes
):
    root, train, _ = folders
    state = small_disk(kibibytes)
    async with open_system(state, root) as system:
        await system.import_folder(train)
        began = time.monotonic()
        failed = await system.augment(**RECIPE)
        assert time.monotonic() - began < 15, "it was waited for"
        assert failed.error.code == 8 and "free some" in failed.error.message
        assert whole(system.store)
        made = system.trouble.made
        grow(state, 64_000)
        done = await system.augment(**RECIPE)
        assert done.result.accepted_count == 300 and made > 0
        assert system.trouble.made == 300, "nothing is lost and nothing made twice"
        assert len(rows_of(system.store, done.result.manifest_uri)) == 300


async def test_work_on_a_full_disk_goes_on_after_a_restart(folders, small_disk):
    root, train, _ = folders
    state, trouble = small_disk(1500), Trouble()
    async with open_system(state, root, trouble=trouble) as system:
        await system.import_folder(train)
        assert (await system.augment(**RECIPE)).error.code == 8
    grow(state, 64_000)
    async with open_system(state, root, trouble=trouble) as system:
        done = await system.augment(**RECIPE)
        assert done.result.accepted_count == 300 == trouble.made


@pytest.mark.parametrize("kibibytes", [40, 60, 80])
async def test_a_database_without_room_is_said_at_once(folders, small_disk, kibibytes):
    root, train, _ = folders
    disk = small_disk(8000)
    url = f"sqlite:///{disk}/gateway.sqlite"
    async with open_system(root / "state", root, database_url=url) as system:
        await system.import_folder(train)
        filler = disk / "filler"
        fill(filler, kibibytes)
        began = time.monotonic()
        code, message = await failure(system, **{**RECIPE, "images_per_class": 400})
        assert time.monotonic() - began < 30
        assert code == 8 and "the gateway's database has no space left" in message
        filler.unlink()
        done = await system.augment(**{**RECIPE, "images_per_class": 400})
        assert done.result.accepted_count == 800 == system.trouble.made


async def failure(system, **fields):
    """Returns code and message of an augmentation that fails: at once if its start has no room."""
    try:
        failed = await system.augment(**fields)
    except grpc.aio.AioRpcError as error:
        return error.code().value[0], error.details()
    return failed.error.code, failed.error.message


def fill(filler, kibibytes):
    """Fills a disk with one file, but for so many KiB. What others write meanwhile is no matter."""
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    os.truncate(filler, filler.stat().st_size - kibibytes * 1024)


@pytest.mark.parametrize(
    ("word", "method"),
    [
        ("captions/", "mvc"),
        ("embeddings/", "cond_embed_cutmix_dropout"),
        ("manifest.parquet", "mvc"),
    ],
)
async def test_a_full_disk_ends_the_work_with_a_sentence_and_loses_nothing(folders, word, method):
    root, train, _ = folders
    async with open_system(root / "state", root, wrap=FullStore) as system:
        await system.import_folder(train)
        system.store.word = word
        system.store.error = Exhausted("no space left to store it; free some", reason="STORE_FULL")
        failed = await system.augment(method=method)
        assert failed.error.code == 8 and "no space left" in failed.error.message
        made = system.trouble.made
        system.store.word = ""
        assert (await system.augment(method=method)).result.accepted_count == 6
        assert system.trouble.made == max(made, 6)
