"""Manifests of augmentations: sorted, whatever the order of rows and however many there are."""

import io
import random

import pyarrow.parquet as pq
import pytest

from gateway.run import output
from gateway.run.outcomes import Outcome
from gateway.run.output import Output
from tests.gateway.test_plan import items_of, plan_of

PLAN = plan_of("simple")


@pytest.fixture(params=[(1024, 32 * 1024), (3, 5)], ids=["one batch", "many batches"])
def sizes(request, monkeypatch):
    batch, written = request.param
    monkeypatch.setattr(output, "_BATCH", batch)
    monkeypatch.setattr(output, "_WRITTEN", written)


def filled(items):
    made = Output()
    for item in items:
        outcome = Outcome(item.item_id, f"store:{item.item_id}.png", clip_score=0.5)
        made.accept(PLAN, item, outcome, source="generated", model="text")
        made.reject(PLAN, item, outcome, "UNSAFE", f"unsafe {item.item_id}")
    return made


@pytest.mark.parametrize("seed", [0, 1])
def test_manifests_are_in_the_order_of_the_plan(sizes, seed):
    items = items_of(PLAN)
    shuffled = random.Random(seed).sample(items, len(items))
    made = filled(shuffled)
    for data in (made.accepted_file(), made.rejected_file()):
        rows = pq.read_table(io.BytesIO(data)).to_pylist()
        assert [row["item_id"] for row in rows] == [item.item_id for item in items]
        assert [row["seed"] for row in rows] == [item.slot.seed for item in items]


def test_rows_are_read_back_in_the_order_of_decision_and_more_may_follow(sizes):
    items = items_of(PLAN)
    made = filled(items[:7])
    assert [row["item_id"] for row in made.accepted("item_id")] == [i.item_id for i in items[:7]]
    for item in items[7:]:
        made.accept(PLAN, item, Outcome(item.item_id), source="generated", model="text")
    rows = pq.read_table(io.BytesIO(made.accepted_file())).to_pylist()
    assert [row["item_id"] for row in rows] == [item.item_id for item in items]


def test_a_manifest_without_rows_has_its_columns():
    table = pq.read_table(io.BytesIO(Output().accepted_file()))
    assert table.num_rows == 0 and "lineage" in table.column_names
