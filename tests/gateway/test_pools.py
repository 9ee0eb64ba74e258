"""Pools of this machine: files and folders that are copied into the store for the retriever."""

import pytest

from datafiles.places.place import locate
from datafiles.places.pools import store_pool
from retriever.pool import open_pool
from servicekit.errors import InvalidArgument
from servicekit.storage import MemoryStore
from tests.gateway.pictures import picture, write_folder
from tests.gateway.test_shards import samples, shard


def rows_of(path):
    store = MemoryStore()
    place = locate(path.as_uri(), store=store, roots=(str(path.parent),), field="pool")
    uri = store_pool(store, place, "pool")
    assert store_pool(store, place, "pool") == uri
    return [row for one in open_pool(store, uri).shards for row in one.read(store)[1]]


def test_a_folder_of_class_folders_is_a_pool_whatever_their_names(tmp_path):
    root = write_folder(tmp_path / "set", classes=("Höhlen bär", "it's (2.0)"), count=2)
    (root / "it's (2.0)" / "0.txt").write_text("a caption")
    rows = rows_of(root)
    assert sorted(row.class_name for row in rows) == ["Höhlen bär"] * 2 + ["it's (2.0)"] * 2
    assert sorted(row.caption for row in rows) == ["", "", "", "a caption"]


@pytest.mark.parametrize("name", ["a.tar", "A.TAR"])
def test_archives_are_pools_alone_and_in_folders(tmp_path, name):
    folder = tmp_path / "shards"
    folder.mkdir()
    (folder / name).write_bytes(shard(samples(0, 4)))
    (folder / "b.png").write_bytes(picture("loose"))
    assert len(rows_of(folder / name)) == 4
    assert sorted(row.class_name for row in rows_of(folder)) == ["", "cat", "cat", "dog", "dog"]


def test_packed_archives_are_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("datafiles.places.pools._ARCHIVE_BYTES", 2000)
    root = write_folder(tmp_path / "set", count=5)
    assert len(rows_of(root)) == 10


@pytest.mark.parametrize("fill", [None, "text"])
def test_a_folder_without_anything_to_use_is_refused(tmp_path, fill):
    root = tmp_path / "set"
    root.mkdir()
    if fill:
        (root / "readme.md").write_text("text")
    with pytest.raises(InvalidArgument, match="holds no image") as caught:
        rows_of(root)
    assert caught.value.field == "pool"


def test_links_that_leave_the_pool_are_refused_by_name(tmp_path):
    (tmp_path / "secret.png").write_bytes(picture("secret"))
    root = write_folder(tmp_path / "set")
    (root / "cat" / "link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(InvalidArgument, match=r"cat/link\.png"):
        rows_of(root)
