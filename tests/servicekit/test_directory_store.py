"""The store in a folder: its URL, what else lies there, and disks that are full or fail."""

import errno
import os
import re
import time
from pathlib import Path

import pytest

from servicekit.errors import Exhausted, InvalidArgument, NotFound, Precondition, Unavailable
from servicekit.storage import LASTING, DirectoryStore, open_store


def test_an_old_object_that_is_found_again_is_young(tmp_path):
    store = DirectoryStore(tmp_path)
    use = {"put": lambda: not store.put("a", b"other"), "renew": lambda: store.renew("a")}
    store.put("a", b"text")
    for found_again in use.values():
        os.utime(tmp_path / "a", (1000, 1000))
        assert found_again()
        assert not store.discard("a", time.time() - 60)
    assert store.get("a") == b"text"


def test_what_dead_writers_left_is_counted_and_removed(tmp_path):
    store = DirectoryStore(tmp_path)
    for name, age in (("old", 1000), ("new", time.time())):
        (tmp_path / ".staging" / name).write_bytes(b"half")
        os.utime(tmp_path / ".staging" / name, (age, age))
    assert store.discard_halves(time.time() - 60, dry_run=True) == (1, 4)
    assert store.discard_halves(time.time() - 60, dry_run=False) == (1, 4)
    assert [path.name for path in (tmp_path / ".staging").iterdir()] == ["new"]


def test_a_full_disk_says_so_and_leaves_no_half_object(tmp_path, monkeypatch):
    store = DirectoryStore(tmp_path)

    def full(self, path, data):
        path.write_bytes(next(iter(data))[:3])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(DirectoryStore, "_write", full)
    with pytest.raises(Exhausted, match="to store a/b") as caught:
        store.put("a/b", b"pixels")
    assert caught.value.reason == "STORE_FULL"
    assert not store.exists("a/b")
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


@pytest.mark.parametrize(
    ("number", "kind", "reason"),
    [
        (errno.EDQUOT, Exhausted, "STORE_FULL"),
        (errno.EFBIG, Exhausted, "STORE_FULL"),
        (errno.EROFS, Precondition, "STORE_READ_ONLY"),
        (errno.EACCES, Precondition, "STORE_READ_ONLY"),
        (errno.EIO, Precondition, "STORE_BROKEN"),
        (errno.ESTALE, Unavailable, "STORE_UNREACHABLE"),
    ],
)
def test_every_failure_of_a_disk_has_its_sentence(tmp_path, monkeypatch, number, kind, reason):
    store = DirectoryStore(tmp_path)
    store.put("a/b", b"pixels")

    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    for name in ("open", "read_bytes", "stat", "unlink", "exists", "is_file"):
        monkeypatch.setattr(Path, name, fail)
    calls = [
        lambda: store.put("a/c", b"pixels"),
        lambda: store.get("a/b"),
        lambda: store.exists("a/b"),
        lambda: store.size("a/b"),
        lambda: store.delete("a/b"),
    ]
    for call in calls:
        with pytest.raises(kind, match=re.escape(os.strerror(number))) as caught:
            call()
        assert caught.value.reason == reason
        assert (reason in LASTING) == (reason != "STORE_UNREACHABLE")


def test_a_real_full_disk_keeps_nothing_half_written_and_takes_more_after_room_was_made(small_disk):
    store = DirectoryStore(small_disk(64))
    store.put("large", bytes(40_000))
    for _ in range(3):
        with pytest.raises(Exhausted, match="no space left"):
            store.put("larger", bytes(50_000))
        assert list(store.list("")) == ["large"]
    store.delete("large")
    assert store.put("larger", bytes(50_000))
    assert store.get("larger") == bytes(50_000)


def test_a_store_opens_by_url(tmp_path):
    open_store(f"file://{tmp_path}").put("a", b"x")
    assert (Path(tmp_path) / "a").read_bytes() == b"x"
    for url in ("ftp://somewhere", "file://folder", "file:folder", ""):
        with pytest.raises(InvalidArgument, match="is not a store; use file:///FOLDER"):
            open_store(url)
    with pytest.raises(InvalidArgument, match="/proc/no/folder cannot be made"):
        open_store("file:///proc/no/folder")
    with pytest.raises(InvalidArgument, match="s3://BUCKET"):
        open_store("s3://pets")


@pytest.mark.parametrize("name", ["st%201", "st?x=1", "a b#c;d&e", "Zürich 日本", "100%", "\udcff"])
def test_a_folder_of_any_name_is_a_store(tmp_path, name):
    open_store((tmp_path / name).as_uri()).put("a/b", b"1")
    assert [path.parent.parent.name for path in tmp_path.rglob("b")] == [name]


@pytest.mark.parametrize("tail", ["?x=1", "#1"])
def test_a_url_of_a_folder_that_would_be_cut_is_refused(tmp_path, tail):
    with pytest.raises(InvalidArgument, match="write them as %3F and %23"):
        open_store(f"{tmp_path.as_uri()}{tail}")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_read_is_told_not_left_out(tmp_path, monkeypatch):
    store = DirectoryStore(tmp_path)
    store.put("a/x", b"1")
    store.put("b/x", b"1")
    scandir = os.scandir

    def refuse(path):  # root reads every folder, so permissions cannot be used here
        if str(path).endswith("/b"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(Precondition, match="Permission denied"):
        list(store.list(""))
    assert list(store.list("a/")) == ["a/x"]


@pytest.mark.timeout(20)
def test_a_pipe_in_the_folder_is_no_object_and_nobody_waits_for_it(tmp_path):
    store = DirectoryStore(tmp_path)
    (tmp_path / "images").mkdir()
    os.mkfifo(tmp_path / "images" / "pipe")
    for call in (store.get, store.size, store.version):
        with pytest.raises(NotFound, match="images/pipe"):
            call("images/pipe")
    assert not store.exists("images/pipe")
