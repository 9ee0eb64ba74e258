"""Manifests of augmentations: sorted, whatever the order of rows and however many there are."""

import hashlib
import io
import random
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gateway.augment import parts, rows
from gateway.augment.outcomes import Outcome
from gateway.augment.output import Output
from gateway.augment.parts import Source
from gateway.methods.base import Slot
from gateway.plan import Item
from servicekit.storage import MemoryStore
from tests.gateway.planning import items_of, plan_of

PLAN = plan_of("simple")


@pytest.fixture(params=[32 * 1024, 5], ids=["one group", "many groups"])
def store(request, monkeypatch):
    monkeypatch.setattr(parts, "GROUP", request.param)
    return MemoryStore()


def add(made, items):
    for item in items:
        outcome = Outcome(item.item_id, f"store:{item.item_id}.png", clip_score=0.5)
        made.accept(PLAN, item, outcome, source="generated", model="text")
        made.reject(PLAN, item, outcome, "UNSAFE", f"unsafe {item.item_id}")


def filled(store, items, size):
    """Returns an output whose items come in two runs, in parts of `size`."""
    made = Output(store, Source("work"))
    for run in range(2):
        some = items[run::2]
        for number, first in enumerate(range(0, len(some), size)):
            add(made, some[first : first + size])
            made.put(run, number)
    return made


def written(store, made):
    """Returns both manifests."""
    made.write_accepted("accepted")
    made.write_rejected("rejected")
    return [pq.read_table(io.BytesIO(store.get(key))) for key in ("accepted", "rejected")]


@pytest.mark.parametrize("size", [1, 2, 1000])
def test_manifests_are_in_the_order_of_the_plan_whatever_the_parts(store, size):
    items = items_of(PLAN)
    for table in written(store, filled(store, items, size)):
        found = table.to_pylist()
        assert [row["item_id"] for row in found] == [item.item_id for item in items]
        assert [row["seed"] for row in found] == [item.slot.seed for item in items]


def test_the_rows_of_a_part_may_come_in_any_order(store):
    items = items_of(PLAN)
    made = Output(store, Source("work"))
    add(made, random.Random(1).sample(items, len(items)))
    made.put(0, 0)
    for table in written(store, made):
        assert table.column("item_id").to_pylist() == [item.item_id for item in items]


def test_many_rows_of_one_place_are_sorted_by_id_across_parts(store):
    """As the images of a pool are that were rejected before one was accepted."""
    made = Output(store, Source("work"))
    slot = Slot("cat", 0, 0, 0, 0)
    ids = [hashlib.sha256(b"%d" % number).hexdigest()[:32] for number in range(40)]
    for number, item_id in enumerate(ids):
        item = Item(item_id, slot, (), "", None, None, {})
        made.reject(PLAN, item, Outcome(item_id), "UNSAFE", "")
        if number % 7 == 0:
            made.put(0, number)
    made.put(0, 99)
    _, rejected = written(store, made)
    assert rejected.column("item_id").to_pylist() == sorted(ids)


def test_the_digest_is_that_of_the_file(store):
    made = filled(store, items_of(PLAN), 3)
    digest = made.write_accepted("accepted")
    assert digest == hashlib.sha256(store.get("accepted")).hexdigest()


def test_a_manifest_without_rows_has_its_columns(store):
    made = Output(store, Source("work"))
    made.put(0, 0)
    assert not list(store.list("work")), "no rows are no part"
    accepted, rejected = written(store, made)
    assert accepted.num_rows == rejected.num_rows == 0
    assert "lineage" in accepted.column_names and "reason" in rejected.column_names


def test_merging_holds_a_group_however_many_rows_there_are(monkeypatch, tmp_path):
    monkeypatch.setattr(parts, "GROUP", 256)

    def peak(count):
        """Returns the most bytes that pyarrow and Python hold while `count` rows are merged."""
        store = MemoryStore()
        made = filled(store, items_of(plan_of("simple", images_per_class=count)), 256)
        pool = pa.default_memory_pool()
        tracemalloc.start()
        before, most = pool.bytes_allocated(), 0
        for _ in rows.to_chunks(made._accepted.merged(), rows.ACCEPTED):
            most = max(most, pool.bytes_allocated() - before)
        held = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most + held

    assert peak(2000) < 1.5 * peak(500)
