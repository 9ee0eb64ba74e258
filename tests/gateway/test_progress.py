"""The progress that running work shows."""

import asyncio
import contextlib
import time

from google.longrunning import operations_pb2
from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.clients import patience
from gateway.durable.progress import WorkProgress
from gateway.study.training_progress import TrainingProgress
from servicekit.errors import Exhausted
from tests.gateway.system import open_system


def test_what_was_done_before_a_stage_began_does_not_count_as_its_speed():
    progress = WorkProgress()
    progress.start("train", 50, "classifiers", 49)
    assert (progress.done, progress.rate()) == (49, 0)
    time.sleep(0.05)
    progress.advance()
    assert 0 < progress.rate() <= 20


def test_the_training_of_a_study_is_shown_in_steps_that_go_on_from_what_was_done():
    progress = WorkProgress()
    training = TrainingProgress(progress)
    training.finished(100, "baseline", 1)
    training.of("mvc", 1)(40, 100)
    assert not progress.stage, "images are still being made"
    training.begin(3)
    assert (progress.stage, progress.unit, progress.rate()) == ("train", "steps", 0)
    assert (progress.done, progress.total) == (140, 300)
    training.of("mvc", 1)(90, 100)
    assert (progress.part, progress.done) == ("1 of 3 classifiers", 190)
    training.finished(100, "mvc", 1)
    assert (progress.part, progress.done) == ("2 of 3 classifiers", 200)


async def test_what_keeps_work_waiting_is_named_with_its_service_and_reason(folders, monkeypatch):
    """A generator that is full for long: the operation's progress says so until it goes on."""
    monkeypatch.setattr(patience, "SILENT_SECONDS", 0.2)
    state, train, _ = folders
    async with open_system(state, train) as system:
        await system.import_folder(train)
        system.trouble.busy_calls = 4
        operation = await system.start()
        seen = set()
        while not operation.done:
            progress = pb.OperationProgress()
            operation.metadata.Unpack(progress)
            seen.add(progress.waiting)
            await asyncio.sleep(0.05)
            request = operations_pb2.GetOperationRequest(name=operation.name)
            operation = await system.operations.GetOperation(request, timeout=10)
        last = pb.OperationProgress()
        operation.metadata.Unpack(last)
    assert seen == {"", "the generator: the queue is full"}
    assert last.waiting == ""


async def test_a_wait_that_is_given_up_or_cancelled_is_no_longer_shown(monkeypatch):
    monkeypatch.setattr(patience, "SILENT_SECONDS", 0.0)
    waits = patience.Waits()

    async def work():
        patience.note_waits(waits)
        await patience.Patience(60.0, "trainer").wait_after(Exhausted("full", retry_after=9))

    task = asyncio.create_task(work())
    await asyncio.sleep(0.05)
    assert waits.text() == "the trainer: full"
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    del task
    assert waits.text() == ""


async def test_an_operation_tells_when_it_was_asked_for_and_when_it_ended(folders):
    state, train, _ = folders
    before = time.time()
    async with open_system(state, train) as system:
        await system.import_folder(train)
        await system.augment()
        system.trouble.bad_seeds = {-1}
        failed = await system.augment("a2", method="simple")
    async with open_system(state, train) as system:  # the times outlive the process
        request = operations_pb2.ListOperationsRequest()
        found = (await system.operations.ListOperations(request, timeout=10)).operations
    assert failed.HasField("error") and len(found) == 3
    for operation in found:
        progress = pb.OperationProgress()
        operation.metadata.Unpack(progress)
        times = [progress.create_time.ToSeconds(), progress.end_time.ToSeconds()]
        assert before - 1 <= times[0] <= times[1] <= time.time() + 1, operation.name
