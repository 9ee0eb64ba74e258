"""Plans of many images: neither memory, nor records, nor a resumption grow with their number."""

import asyncio
import hashlib
import sqlite3
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from google.longrunning import operations_pb2

from gateway.augment import rounds
from gateway.augment.decisions import Decisions
from gateway.augment.outcomes import Outcome
from gateway.augment.rounds import Round
from gateway.augment.seen import Seen
from gateway.digests import digest, digest_of_hex
from gateway.durable.progress import WorkProgress
from gateway.durable.steps import AtMost, in_order
from gateway.methods.base import Slot
from servicekit.errors import Exhausted
from servicekit.storage import MemoryStore
from tests.gateway.doubles import Trouble
from tests.gateway.full_store import FullStore
from tests.gateway.pictures import write_folder
from tests.gateway.planning import MATERIALS, plan_of
from tests.gateway.system import open_system

PLAN = plan_of("simple", images_per_class=30)
SHARD, BLOCK = 4, 10


class CountingStore(MemoryStore):
    def __init__(self):
        super().__init__()
        self.read = []

    def get(self, key):
        self.read.append(key)
        return super().get(key)


class NoSlots(list):
    """Slots that must not be looked at."""

    def __getitem__(self, place):
        raise AssertionError("what is decided is planned again")


def outcome_of(item):
    """Every seventh image is unsafe, and every fifth the same picture."""
    number = item.slot.label * 100 + item.slot.index
    pixels = hashlib.sha256(b"%d" % (0 if number % 5 == 0 else number)).hexdigest()
    reasons = ("UNSAFE",) if number % 7 == 0 else ()
    return Outcome(
        item.item_id,
        pixel_sha256=pixels,
        perceptual_hash=int(pixels[:16], 16),
        reasons=reasons,
        message="unsafe" if reasons else "",
    )


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(rounds, "BLOCK", BLOCK)


def begun(store, slots):
    decisions = Decisions(store, "work", PLAN, "text", WorkProgress())
    return Round(store, "work", 0, slots, SHARD), decisions


def decide(round_, decisions, shards):
    """Decides on shards as the work does."""
    for number in shards:
        part = round_.shard(number)
        items = PLAN.items(round_.slots[part.start : part.stop], MATERIALS)
        round_.write(number, map(outcome_of, items))
        for item in items:
            decisions.decide(item, outcome_of(item))
        if round_.ends_block(number):
            decisions.end_block(0, number // round_.shards_of_block)
            round_.forget(number)


def test_shards_are_all_slots_once_and_never_cross_the_end_of_a_block():
    for count in (1, 9, 10, 11, 90):
        round_ = Round(MemoryStore(), "work", 0, [None] * count, SHARD)
        parts = [round_.shard(number) for number in range(round_.shard_count)]
        assert [one for part in parts for one in part] == list(range(count))
        assert all(part.start // BLOCK == (part.stop - 1) // BLOCK for part in parts)
        ends = [part.stop for n, part in enumerate(parts) if round_.ends_block(n)]
        assert ends == sorted({*range(BLOCK, count + 1, BLOCK), count})


def test_what_is_decided_is_read_back_a_block_at_a_time_and_not_planned_again():
    store, slots = CountingStore(), PLAN.first_slots(MATERIALS.values())
    round_, decisions = begun(store, slots)
    decide(round_, decisions, range(14))  # Four blocks, and two shards of the fifth.
    store.read.clear()
    unread = NoSlots([None] * len(slots))
    again, restored = begun(store, unread)
    left, known = again.restore(restored)
    assert left.start == 12 and len(store.read) == 4
    assert [again.key(number) in known for number in (11, 12, 13, 14)] == [False, True, True, False]
    assert again.read(12) == round_.read(12)


def test_work_that_goes_on_decides_as_work_that_was_not_interrupted():
    stores = [MemoryStore(), MemoryStore()]
    slots = PLAN.first_slots(MATERIALS.values())
    whole, ours = begun(stores[0], slots)
    decide(whole, ours, range(whole.shard_count))
    round_, decisions = begun(stores[1], slots)
    decide(round_, decisions, range(14))
    round_, restored = begun(stores[1], slots)
    left, _ = round_.restore(restored)
    decide(round_, restored, left)
    assert restored.again == ours.again and len(ours.again) > 0
    assert restored.output.counts == ours.output.counts
    assert "REPEATED" in ours.output.counts.reasons["class_2"], "copies of before the interruption"
    for made in (ours, restored):
        made.output.write_accepted("accepted")
        made.output.write_rejected("rejected")
    assert not any("/shards/" in key for key in stores[1].list(""))
    for key in stores[0].list(""):
        assert stores[0].get(key) == stores[1].get(key), key


async def test_the_database_holds_no_more_for_many_images_than_for_few(tmp_path):
    write_folder(tmp_path / "train")
    sizes = []
    async with open_system(tmp_path / "state", tmp_path, wrap=FullStore) as system:
        await system.import_folder(tmp_path / "train")
        system.store.word, system.store.error = "manifest.parquet", Exhausted("no space left")
        for name, count in (("few", 10), ("many", 100)):
            await system.augment(name, method="simple", images_per_class=count)
            with sqlite3.connect(tmp_path / "state" / "gateway.sqlite") as database:
                query = "SELECT sum(length(output)), count(*) FROM operation_outputs"
                sizes.append(database.execute(query).fetchone())
    (few, rows), (both, twice) = sizes
    assert twice == 2 * rows, "a step for each shard"
    assert both - 2 * few < 100, "180 images more"


def test_a_picture_that_was_seen_takes_a_few_bytes_and_no_object():
    def remember(count):
        seen = Seen()
        for first in range(0, count, 100):
            some = range(first, first + 100)
            digests = [hashlib.sha256(b"%d" % number).hexdigest() for number in some]
            names, ids = np.full(100, "cat", object), [digest[:32] for digest in digests]
            seen.remember(names, ids, digests, np.array(some, np.uint64))
        return seen

    tracemalloc.start()
    kept = remember(5000)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 5000 * 80
    number = hashlib.sha256(b"4711").hexdigest()
    assert kept.copy_of("dog", Outcome("", pixel_sha256=number)) == number[:32]


def test_planning_gives_way_after_each_item():
    pauses = []
    slots = PLAN.first_slots(MATERIALS.values())
    items = PLAN.items(slots, MATERIALS, lambda: pauses.append(1))
    assert len(pauses) == len(items) == len(slots)


def test_further_attempts_are_made_when_they_are_asked_for():
    slots = PLAN.next_slots(MATERIALS.values(), [0, 3, 2, 7], 4)
    assert [(slot.class_name, slot.index, slot.attempt) for slot in slots] == [
        ("class_0", 3, 4),
        ("class_2", 7, 4),
    ]
    assert slots[1] == PLAN.slot("class_2", 2, 7, 4)


def test_a_sample_has_its_number_of_images_and_all_attempts_at_them():
    slots = PLAN.first_slots(MATERIALS.values())
    for count in (0, 1, 17, len(slots), len(slots) + 1):
        sample = PLAN.sample(slots, count)
        chosen = [slot for slot in slots if sample.has(slot)]
        assert len(chosen) == min(count, len(slots))
        lowest = sorted(slots, key=lambda slot: slot.seed)[:count]
        assert set(chosen) == set(lowest)
        for slot in slots[:20]:
            again = PLAN.slot(slot.class_name, slot.label, slot.index, 2)
            assert isinstance(again, Slot) and sample.has(again) == (slot in chosen)


async def test_polls_of_work_that_runs_here_look_at_the_store_once(tmp_path):
    write_folder(tmp_path / "train")
    trouble = Trouble(gate=asyncio.Event())
    async with open_system(tmp_path / "state", tmp_path, trouble=trouble) as system:
        await system.import_folder(tmp_path / "train")
        operation = await system.start(method="simple", images_per_class=3)
        request = operations_pb2.GetOperationRequest(name=operation.name)
        told = await system.operations.GetOperation(request, timeout=10)
        for file in (tmp_path / "state" / "objects" / "datasets").rglob("times.json"):
            file.unlink()  # Whoever looked at it now would know no time.
        assert told == await system.operations.GetOperation(request, timeout=10)
        trouble.gate.set()
        assert (await system.finish(operation)).result.accepted_count == 6


def test_arrow_takes_its_memory_from_the_system():
    """Its own allocator keeps what each of many threads has used once."""
    code = "import gateway, pyarrow; print(pyarrow.default_memory_pool().backend_name)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "system"


def test_the_digest_of_data_in_chunks_is_that_of_its_hexadecimal_text():
    for data in (b"", b"abc", bytes(range(256)) * 5000):
        halves = data[: len(data) // 2], data[len(data) // 2 :]
        assert digest_of_hex(halves) == digest(data.hex())


async def test_no_more_is_made_while_many_results_wait_to_be_used():
    made, used, may_use = [], [], asyncio.Event()

    def maker(number):
        async def make(_):
            made.append(number)
            return number

        return make

    async def use(number, result):
        assert number == result
        await may_use.wait()
        used.append(number)

    begin = AtMost(lambda: 3).begin
    work = asyncio.create_task(in_order(range(1000), maker, begin=begin, use=use))
    async with asyncio.timeout(20):
        while len(made) < 64:
            await asyncio.sleep(0.001)
    for _ in range(1000):
        await asyncio.sleep(0)
    assert len(made) < 100
    may_use.set()
    await work
    assert used == list(range(1000))


async def test_one_that_takes_long_does_not_stop_the_others_at_once():
    made, slow = [], asyncio.Event()

    def maker(number):
        async def make(_):
            if number == 5:
                await slow.wait()
            made.append(number)

        return make

    async def use(number, result):
        if number == 5:
            assert len(made) > 60

    async def end():
        while len(made) < 60:
            await asyncio.sleep(0.001)
        slow.set()

    begin = AtMost(lambda: 3).begin
    async with asyncio.timeout(20):
        await asyncio.gather(in_order(range(300), maker, begin=begin, use=use), end())
    assert sorted(made) == list(range(300))
