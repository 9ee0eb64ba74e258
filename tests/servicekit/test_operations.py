import asyncio
import threading

import pytest
from variegate.retriever.v1.retriever_pb2 import CreateIndexMetadata, CreateIndexRequest, Index

from servicekit.errors import AlreadyExists, Precondition, Unavailable
from servicekit.operations import OperationRunner
from servicekit.statuses import from_status

REQUEST = CreateIndexRequest(index_id="pool", pool_uri="store:a")


class Work:
    """Counts its runs and waits at a gate."""

    def __init__(self):
        self.runs = 0
        self.gate = asyncio.Event()

    async def __call__(self, progress):
        self.runs += 1
        progress.update(CreateIndexMetadata(done_count=self.runs))
        await self.gate.wait()
        return Index(name="indexes/pool")


async def finished(runner, name):
    while not (operation := await runner.get(name)).done:
        await asyncio.sleep(0.01)
    return operation


def result(operation):
    found = Index()
    assert operation.response.Unpack(found)
    return found


async def test_the_same_request_answers_the_same_operation_and_works_once(runner):
    work = Work()
    first = await runner.start("pool", REQUEST, work)
    again = await runner.start("pool", REQUEST, work)
    assert first.name == again.name == "operations/retriever-pool"
    work.gate.set()
    assert result(await finished(runner, first.name)).name == "indexes/pool"
    assert (await runner.start("pool", REQUEST, work)).done
    assert work.runs == 1


async def test_another_request_with_the_same_id_is_refused(runner):
    await runner.start("pool", REQUEST, Work())
    with pytest.raises(AlreadyExists, match="another request"):
        await runner.start("pool", CreateIndexRequest(index_id="pool", pool_uri="store:b"), Work())


async def test_metadata_is_there_while_the_work_runs(runner):
    operation = await runner.start("pool", REQUEST, Work())
    await asyncio.sleep(0.05)
    metadata = CreateIndexMetadata()
    assert (await runner.get(operation.name)).metadata.Unpack(metadata)
    assert metadata.done_count == 1
    await runner.close()


async def test_the_last_metadata_stays_however_soon_it_follows(runner):
    async def work(progress):
        for count in range(5):
            progress.update(CreateIndexMetadata(done_count=count))
        return Index(name="indexes/pool")

    operation = await finished(runner, (await runner.start("pool", REQUEST, work)).name)
    metadata = CreateIndexMetadata()
    assert operation.metadata.Unpack(metadata) and metadata.done_count == 4


async def test_interrupted_work_goes_on_when_it_is_asked_for_again(store, runner):
    work = Work()
    operation = await runner.start("pool", REQUEST, work)
    await asyncio.sleep(0.01)
    await runner.close()
    assert not (await runner.get(operation.name)).done
    reborn = OperationRunner(store, "retriever")
    work.gate.set()
    await reborn.start("pool", REQUEST, work)
    assert result(await finished(reborn, operation.name)).name == "indexes/pool"
    assert work.runs == 2


async def test_an_error_ends_the_operation_and_asking_again_tries_again(runner):
    async def failing(progress):
        raise Precondition("the pool is empty", subject="store:a", reason="POOL_EMPTY")

    operation = await runner.start("pool", REQUEST, failing)
    error = from_status((await finished(runner, operation.name)).error)
    assert (type(error), error.reason) == (Precondition, "POOL_EMPTY")
    work = Work()
    work.gate.set()
    await runner.start("pool", REQUEST, work)
    assert result(await finished(runner, operation.name)).name == "indexes/pool"


async def test_a_cancelled_operation_says_so(runner):
    operation = await runner.start("pool", REQUEST, Work())
    await asyncio.sleep(0.01)
    await runner.cancel(operation.name)
    assert (await finished(runner, operation.name)).error.code == 1


async def test_cancelling_what_a_dead_process_left_ends_it(store, runner):
    operation = await runner.start("pool", REQUEST, Work())
    await runner.close()
    reborn = OperationRunner(store, "retriever")
    await reborn.cancel(operation.name)
    assert (await finished(reborn, operation.name)).error.code == 1
    again = Work()
    again.gate.set()
    await reborn.start("pool", REQUEST, again)
    assert result(await finished(reborn, operation.name)).name == "indexes/pool"


async def test_a_late_thread_of_cancelled_work_changes_nothing_of_its_successor(runner):
    reports = []

    async def first(progress):
        reports.append(progress)
        await asyncio.Event().wait()

    operation = await runner.start("pool", REQUEST, first)
    await asyncio.sleep(0.01)
    await runner.cancel(operation.name)
    second = Work()
    second.gate.set()
    await runner.start("pool", REQUEST, second)
    done = await finished(runner, operation.name)
    reports[0].update(CreateIndexMetadata(done_count=99))
    await asyncio.sleep(1.2)  # longer than progress takes to be kept
    assert await runner.get(operation.name) == done
    assert result(done).name == "indexes/pool"


async def test_work_that_is_started_while_its_predecessor_is_cancelled_can_be_cancelled(runner):
    async def stubborn(progress):
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.1)

    operation = await runner.start("pool", REQUEST, stubborn)
    await asyncio.sleep(0.01)
    await runner.cancel(operation.name)
    work = Work()
    again = await runner.start("pool", REQUEST, work)
    assert not again.done
    await asyncio.sleep(0.2)
    assert (work.runs, (await runner.get(operation.name)).done) == (1, False)
    await runner.cancel(operation.name)
    assert (await finished(runner, operation.name)).error.code == 1


async def test_a_cancelled_run_that_takes_long_to_end_holds_up_no_other(runner):
    gate = asyncio.Event()

    async def stubborn(progress):
        try:
            await asyncio.Event().wait()
        finally:
            await gate.wait()

    operation = await runner.start("pool", REQUEST, stubborn)
    await asyncio.sleep(0.01)
    await runner.cancel(operation.name)
    again = asyncio.create_task(runner.start("pool", REQUEST, Work()))
    await asyncio.sleep(0.05)
    other = await asyncio.wait_for(runner.start("other", REQUEST, Work()), 5)
    assert not again.done() and not other.done
    gate.set()
    assert not (await asyncio.wait_for(again, 5)).done


async def test_the_end_of_work_is_kept_when_the_store_is_back(store, runner, monkeypatch):
    work = Work()
    operation = await runner.start("pool", REQUEST, work)
    put = store.put

    def full(*arguments, **options):
        raise Unavailable("the disk is full")

    monkeypatch.setattr(store, "put", full)
    work.gate.set()
    await asyncio.sleep(0.1)
    assert not (await runner.get(operation.name)).done
    monkeypatch.setattr(store, "put", put)
    assert result(await finished(runner, operation.name)).name == "indexes/pool"


async def test_nothing_is_written_on_the_event_loop(store, runner, monkeypatch):
    threads = set()
    put = store.put

    def watched(*arguments, **options):
        threads.add(threading.current_thread())
        return put(*arguments, **options)

    monkeypatch.setattr(store, "put", watched)
    work = Work()
    operation = await runner.start("pool", REQUEST, work)
    await asyncio.sleep(1.2)  # until progress was kept
    work.gate.set()
    await finished(runner, operation.name)
    assert threads and threading.current_thread() not in threads


async def test_an_operation_that_runs_is_not_forgotten(runner):
    operation = await runner.start("pool", REQUEST, Work())
    with pytest.raises(Precondition, match="is not done"):
        await runner.delete(operation.name)
