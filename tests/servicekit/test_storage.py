"""The contract of every object store, run against all of them; the S3 one is a real server."""

import hashlib
import io
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servicekit.errors import InvalidArgument, NotFound, Unavailable
from servicekit.storage import (
    DirectoryStore,
    MemoryStore,
    ObjectFile,
    chunks_of,
    get_many,
    sha256_of_object,
    to_key,
    to_uri,
)
from servicekit.storage.base import check_key


@pytest.fixture(params=["memory", "directory", pytest.param("s3", marks=pytest.mark.servers)])
def store(request, tmp_path):
    if request.param == "memory":
        return MemoryStore()
    if request.param == "directory":
        return DirectoryStore(tmp_path)
    found = request.getfixturevalue("seaweed").store()
    for key in list(found.list("")):
        found.delete(key)
    return found


def test_what_is_put_can_be_got_and_measured(store):
    assert store.put("images/ab/x.png", b"pixels")
    assert store.get("images/ab/x.png") == b"pixels"
    assert store.size("images/ab/x.png") == 6
    assert store.exists("images/ab/x.png")


def test_a_put_of_an_existing_key_changes_nothing(store):
    store.put("a", b"first")
    assert not store.put("a", b"second")
    assert store.get("a") == b"first"


def test_overwriting_replaces_the_whole_object(store):
    store.put("a", b"a longer first text")
    assert store.put("a", b"second", overwrite=True)
    assert store.get("a") == b"second"


@pytest.mark.parametrize("size", [0, 3, 9 * 2**20])
def test_chunks_become_one_object_in_place_of_what_was_there(store, size):
    store.put("a", b"before")
    parts = [os.urandom(size), b"", b"end"]
    store.put_chunks("a", lambda: iter(parts))
    assert store.get("a") == b"".join(parts)
    assert list(store.list("")) == ["a"]


def test_entries_are_what_is_listed_with_size_and_time(store):
    began = time.time()
    for key in ("in/b", "in/c/d", "out"):
        store.put(key, key.encode())
    found = {entry.key: entry for entry in store.entries("")}
    assert {key: entry.size for key, entry in found.items()} == {"in/b": 4, "in/c/d": 6, "out": 3}
    assert all(abs(entry.modified - began) < 60 for entry in found.values())
    assert sorted(entry.key for entry in store.entries("in/")) == ["in/b", "in/c/d"]


def test_what_was_stored_since_is_not_discarded(store):
    store.put("a", b"text")
    assert not store.discard("a", time.time() - 60) and store.exists("a")
    assert store.discard("a", time.time() + 60) and not store.exists("a")
    assert not store.discard("a", time.time() + 60)
    assert not store.renew("a"), "what is gone is stored again by who needs it"
    assert store.put("a", b"again") and store.renew("a")


@pytest.mark.servers
def test_a_key_that_a_bucket_neither_has_nor_takes_is_an_error_and_no_endless_loop(seaweed):
    """This server keeps a folder for each part of a key, where no object can be stored."""
    store = seaweed.store()
    store.put("folder/a", b"text")
    with pytest.raises(Unavailable, match="remove what is under folder/, or try again"):
        store.put("folder", b"text")
    assert not store.exists("folder") and store.get("folder/a") == b"text"


@pytest.mark.servers
def test_an_old_object_of_a_bucket_is_renewed_by_a_copy_onto_itself(seaweed, monkeypatch):
    store = seaweed.store()
    store.put("renewed/a.png", b"pixels")
    [before] = store.entries("renewed/")
    time.sleep(1.1)  # The server's times are in seconds.
    monkeypatch.setattr("servicekit.storage.s3.RENEWED_SECONDS", 0.0)
    assert store.renew("renewed/a.png")
    [after] = store.entries("renewed/")
    assert after.modified > before.modified and store.get("renewed/a.png") == b"pixels"
    assert not store.put("renewed/a.png", b"other")


def test_chunks_that_fail_on_the_way_leave_what_was_there(store):
    def broken():
        yield b"half"
        raise Unavailable("gone")

    store.put("a", b"before")
    with pytest.raises(Unavailable, match="gone"):
        store.put_chunks("a", broken)
    assert store.get("a") == b"before" and list(store.list("")) == ["a"]


def test_a_part_of_an_object_is_read_and_no_more(store):
    store.put("a", b"0123456789")
    assert store.read("a", 2, 3) == b"234"
    assert store.read("a", 8, 5) == b"89"
    assert store.read("a", 0, 100) == b"0123456789"
    assert store.read("a", 10, 1) == store.read("a", 99, 1) == b""


def test_an_object_is_a_file_to_readers_that_seek(store):
    data = os.urandom(3 * 2**20 + 7)
    store.put("a", data)
    with io.BufferedReader(ObjectFile(store, "a")) as file:
        assert (file.seek(-7, io.SEEK_END), file.read()) == (3 * 2**20, data[-7:])
        assert (file.seek(5), file.read(3), file.tell()) == (5, data[5:8], 8)
        assert file.read(2**21) == data[8 : 8 + 2**21]
    assert b"".join(chunks_of(store, "a")) == data
    assert sha256_of_object(store, "a") == hashlib.sha256(data).hexdigest()


def test_a_missing_key_is_named(store):
    for call in (store.get, store.size, store.version, lambda key: store.read(key, 0, 1)):
        with pytest.raises(NotFound, match="no object not/here"):
            call("not/here")
    assert not store.exists("not/here")
    store.delete("not/here")


def test_a_version_lasts_as_long_as_the_object(store):
    store.put("a", b"first")
    version = store.version("a")
    store.put("b", b"other")
    store.put("a", b"no-op")
    store.get("a")
    assert store.version("a") == version
    versions = {version}
    # At once and of equal length: neither the clock nor the size tells them apart.
    for number in range(5):
        store.put("a", b"%05d" % number, overwrite=True)
        versions.add(store.version("a"))
    assert len(versions) == 6
    store.delete("a")
    with pytest.raises(NotFound, match="no object a"):
        store.version("a")


def test_keys_are_listed_by_prefix_in_order(store):
    for key in ("b/2", "a/1", "b/1", "bc/3"):
        store.put(key, b"")
    assert list(store.list("b/")) == ["b/1", "b/2"]
    assert list(store.list("b")) == ["b/1", "b/2", "bc/3"]
    assert list(store.list("")) == ["a/1", "b/1", "b/2", "bc/3"]


def test_a_deleted_object_is_gone(store):
    store.put("a/b", b"x")
    store.delete("a/b")
    assert not store.exists("a/b")
    assert list(store.list("a/")) == []


def test_many_objects_come_back_in_order(store):
    keys = [f"many/{i:03d}" for i in range(40)]
    for key in keys:
        store.put(key, key.encode())
    assert get_many(store, keys) == [key.encode() for key in keys]


def test_racing_writers_leave_one_whole_object(store):
    texts = [bytes([65 + i]) * 50_000 for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda text: store.put("race", text), texts))
    assert store.get("race") in texts


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "../a", "a/../b", "a//b", ".staging/x", "a b", "ä"]
)
def test_a_key_that_could_leave_the_store_is_refused(store, key):
    with pytest.raises(InvalidArgument, match="is not an object key"):
        store.put(key, b"")


@given(st.text(max_size=30))
def test_a_key_that_is_accepted_survives_the_way_through_a_uri(key):
    try:
        check_key(key)
    except InvalidArgument:
        return
    assert to_key(to_uri(key)) == key
    assert not any(part in ("", ".", "..") for part in key.split("/"))


def test_a_uri_of_another_kind_is_refused_with_its_field():
    with pytest.raises(InvalidArgument, match="write store:KEY") as caught:
        to_key("file:///etc/passwd", "image_uri")
    assert caught.value.field == "image_uri"
