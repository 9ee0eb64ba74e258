"""Folders of the cache: those unused longest make room, those in use by anybody stay."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from retriever.screening import folders
from retriever.screening.folders import CachedFolders

SIZE = 1000
HOLDER = """
import sys
from pathlib import Path
from retriever.screening.folders import CachedFolders
lease = CachedFolders(Path(sys.argv[1]), 0).lease(sys.argv[2])
print("held", flush=True)
sys.stdin.read()
"""


def put(root: Path, name: str, hours_ago: float) -> None:
    """Makes a folder of SIZE bytes that was used some hours ago."""
    (root / name).mkdir()
    (root / name / "a").write_bytes(bytes(SIZE))
    used = time.time() - 3600 * hours_ago
    os.utime(root / name, (used, used))


def names(root: Path) -> set[str]:
    return {folder.name for folder in root.iterdir()}


@contextmanager
def another_process_that_uses(root: Path, name: str) -> Iterator[subprocess.Popen]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(root), name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_what_was_unused_longest_makes_room(tmp_path: Path):
    for hours, name in enumerate("abcd", 1):
        put(tmp_path, name, hours)
    cache = CachedFolders(tmp_path, 2 * SIZE)
    assert cache.lease("d") is not None  # now the newest, and not in use any more
    cache.make_room()
    assert names(tmp_path) == {"a", "d"}
    assert cache.lease("b") is None


def test_nothing_is_removed_while_all_fit(tmp_path: Path):
    for name in "ab":
        put(tmp_path, name, 1000)
    CachedFolders(tmp_path, 2 * SIZE).make_room()
    assert names(tmp_path) == {"a", "b"}


def test_what_this_process_uses_stays_and_counts(tmp_path: Path):
    put(tmp_path, "old", 9)
    cache = CachedFolders(tmp_path, SIZE)
    lease = cache.lease("old")
    os.utime(tmp_path / "old", (0, 0))
    put(tmp_path, "new", 1)
    cache.make_room()
    assert names(tmp_path) == {"old", "new"}
    del lease
    cache.make_room()
    assert names(tmp_path) == {"new"}


def test_what_another_process_uses_stays_until_it_is_gone(tmp_path: Path):
    put(tmp_path, "theirs", 9)
    cache = CachedFolders(tmp_path, 0)
    with another_process_that_uses(tmp_path, "theirs") as process:
        os.utime(tmp_path / "theirs", (0, 0))
        cache.make_room()
        assert names(tmp_path) == {"theirs"}
        process.kill()
        process.wait()
        cache.make_room()
    assert names(tmp_path) == set()


def test_a_folder_just_written_stays_for_who_wrote_it(tmp_path: Path):
    put(tmp_path, "fresh", 0)
    CachedFolders(tmp_path, 0).make_room()
    assert names(tmp_path) == {"fresh"}


def test_what_killed_processes_left_half_written_goes_after_a_day(tmp_path: Path):
    put(tmp_path, ".left", 25)
    put(tmp_path, ".being-written", 1)
    CachedFolders(tmp_path, 0).make_room()
    assert names(tmp_path) == {".being-written"}


def test_a_leased_folder_is_whole_whoever_makes_room_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(folders, "_SPARED", -1.0)
    cache, stop = CachedFolders(tmp_path, 0), threading.Event()

    def evict() -> None:
        while not stop.is_set():
            cache.make_room()

    threads = [threading.Thread(target=evict) for _ in range(2)]
    for thread in threads:
        thread.start()
    leased = 0
    for number in range(2000):
        staged = tmp_path / f".staged-{number}"
        staged.mkdir()
        (staged / "a").write_bytes(bytes(SIZE))
        staged.rename(tmp_path / f"set-{number}")
        if lease := cache.lease(f"set-{number}"):
            assert (lease.folder / "a").stat().st_size == SIZE
            leased += 1
    stop.set()
    for thread in threads:
        thread.join()
    assert leased
