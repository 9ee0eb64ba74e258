"""Manifests are read from the store by parts: some columns of one row group at a time."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gateway.augment import tables
from gateway.augment.tables import Manifest, lowest_of_classes
from servicekit.errors import NotFound
from servicekit.storage import MemoryStore, to_uri

ROWS, GROUP = 3000, 250


class PartsOnly(MemoryStore):
    """A store that gives no object as a whole, and notes the parts that it gave."""

    def __init__(self):
        super().__init__()
        self.counts = []

    def get(self, key):
        raise AssertionError(f"{key} was read as a whole")

    def read(self, key, start, count):
        self.counts.append(count)
        return super().get(key)[start : start + count]

    def size(self, key):
        return len(super().get(key))


@pytest.fixture
def store():
    """A store with a manifest whose lineage takes nearly all of its bytes."""
    store, random = PartsOnly(), np.random.default_rng(0)
    rows = [
        {"item_id": f"{number:08}", "reason": "AB"[number % 2], "lineage": random.bytes(400).hex()}
        for number in range(ROWS)
    ]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer, row_group_size=GROUP)
    store.put("m", buffer.getvalue())
    store.rows = rows
    return store


def test_of_a_manifest_no_more_is_read_than_the_columns_that_are_asked_for(store):
    found = pa.concat_tables(Manifest(store, to_uri("m")).groups("item_id"))
    assert found.column("item_id").to_pylist() == [row["item_id"] for row in store.rows]
    assert sum(store.counts) < store.size("m") / 4


def test_a_row_group_is_read_at_a_time(store):
    groups = Manifest(store, to_uri("m")).groups()
    read = [(len(next(groups)), sum(store.counts)) for _ in range(ROWS // GROUP)]
    assert {rows for rows, _ in read} == {GROUP}
    each = np.diff([count for _, count in read])
    assert max(each) < 2 * store.size("m") / len(read)


def test_rows_are_picked_by_id_and_only_groups_with_one_are_read_further(store):
    manifest, before = Manifest(store, to_uri("m")), sum(store.counts)
    ids = {"00000001", "00000003", "00000777", "not there"}
    found = manifest.with_ids(ids)
    assert found.to_pylist() == [store.rows[number] for number in (1, 3, 777)]
    assert sum(store.counts) - before < store.size("m") / 3
    some = manifest.with_ids(ids, "item_id", "reason")
    assert some.column_names == ["item_id", "reason"] and len(some) == 3
    none = manifest.with_ids({"not there"})
    assert len(none) == 0 and none.schema.names == found.schema.names


def test_a_manifest_without_a_row_has_a_table_without_one():
    store = MemoryStore()
    buffer = io.BytesIO()
    schema = pa.schema([("item_id", pa.string()), ("label", pa.int32())])
    pq.write_table(schema.empty_table(), buffer)
    store.put("m", buffer.getvalue())
    manifest = Manifest(store, to_uri("m"))
    assert [len(table) for table in manifest.groups("label")] == [0] and len(manifest) == 0
    assert len(manifest.with_ids({"a"}, "label")) == 0


def test_a_manifest_that_is_gone_is_named():
    with pytest.raises(NotFound, match="no object m in the store"):
        Manifest(MemoryStore(), to_uri("m"))


def test_the_lowest_ids_of_each_class_are_those_of_a_sort(monkeypatch):
    monkeypatch.setattr(tables, "_READ", 100)
    random = np.random.default_rng(0)
    rows = [
        {"class_name": f"c{random.integers(5)}", "item_id": f"{random.integers(10**9):09}"}
        for _ in range(500)
    ]
    some = [pa.Table.from_pylist(rows[first : first + 60]) for first in range(0, 500, 60)]
    found = lowest_of_classes(some, 4).to_pylist()
    ordered = sorted(rows, key=lambda row: (row["class_name"], row["item_id"]))
    expected = [[row for row in ordered if row["class_name"] == f"c{n}"][:4] for n in range(5)]
    assert found == [row for some in expected for row in some]
    assert lowest_of_classes([], 4) is None
