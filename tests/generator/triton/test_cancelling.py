"""Nothing is computed for callers that gave up."""

import dataclasses
import time
from concurrent.futures import CancelledError

import pytest

from generator.backends import start_triton
from generator.engine.errors import QueueFull
from generator.engine.items import Item
from servicekit.storage import MemoryStore
from tests.generator.calls import item, request, serving, until

pytestmark = [pytest.mark.servers, pytest.mark.heavy]

LONG = Item("text", 1, 1000, 1.0, "a photo of a dog")


def eventually(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def settled(observed):
    """Returns the number of steps once it does not grow any more."""
    before = -1
    while (now := observed.steps()) != before:
        before = now
        time.sleep(0.3)
    return now


def test_a_running_item_stops_at_its_next_step(triton_backend, observed):
    before = observed.steps()
    [future] = triton_backend.submit_all([LONG])
    eventually(lambda: observed.steps() > before)
    assert future.cancel()
    assert settled(observed) - before < LONG.steps


def test_a_queued_item_is_never_run(triton_backend, triton_server, observed):
    before = settled(observed)
    short = dataclasses.replace(LONG, steps=30)
    running = triton_backend.submit_all([short] * triton_server.settings.max_batch)
    eventually(lambda: observed.steps() > before)
    # It waits: there is no room for more of its model.
    [queued] = triton_backend.submit_all([short])
    time.sleep(0.1)
    assert not any(future.done() for future in running)
    assert queued.cancel()
    for future in running:
        future.result(60)
    with pytest.raises(CancelledError):
        queued.result()
    assert settled(observed) - before == len(running) * short.steps


async def test_cancelling_the_call_cancels_its_inferences(triton_backend, observed, store):
    before = settled(observed)
    async with serving(triton_backend, store) as stub:
        call = stub.GenerateImages(request(*(item(str(n), seed=n) for n in range(4)), steps=200))
        await until(lambda: observed.steps() > before)
        call.cancel()
    assert settled(observed) - before < 4 * 200
    assert list(store.list("generated")) == []


def test_a_full_queue_takes_all_or_nothing_and_has_room_again(triton_server):
    settings = dataclasses.replace(triton_server.settings, max_queue=2, max_batch=1)
    backend = start_triton(settings, MemoryStore())
    try:
        assert backend.is_healthy()
        with pytest.raises(QueueFull, match="0 items wait and 4 more do not fit, the limit is 3"):
            backend.submit_all([LONG] * 4)
        taken = backend.submit_all([LONG] * 3)
        with pytest.raises(QueueFull):
            backend.submit_all([LONG])
        with pytest.raises(QueueFull):
            backend.encode_prompts("text", ["no room"])
        for future in taken:
            future.cancel()
        short = dataclasses.replace(LONG, steps=2)
        for future in backend.submit_all([short] * 3):
            future.result(60)
    finally:
        backend.close()
