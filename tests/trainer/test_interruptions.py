"""Runs that are killed, cancelled or orphaned."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import grpc
import psutil
import pytest
from google.longrunning import operations_pb2
from variegate.trainer.v1 import trainer_pb2 as pb

from servicekit.operations import wait_for
from servicekit.server import running
from tests.trainer.conftest import SYNTHETIC, _connect
from trainer.wiring import create_service


def workers() -> list[psutil.Process]:
    children = psutil.Process().children()
    return [child for child in children if "trainer.worker" in child.cmdline()]


async def steps(client, run_id: str, count: int) -> None:
    """Returns when the run has reported `count` times."""
    request = pb.WatchMetricsRequest(training_run=f"trainingRuns/{run_id}")
    async for _ in client.trainer.WatchMetrics(request):
        count -= 1
        if not count:
            return


LONG = {"step_count": 400, "synthetic_manifest_uri": SYNTHETIC, "strategy": "two_phase", "seed": 7}


async def test_a_run_whose_worker_is_killed_goes_on_to_the_undisturbed_result(client, store):
    undisturbed = await client.train("calm", **LONG)
    operation = await client.create("killed", **LONG)
    await steps(client, "killed", 8)
    [worker] = workers()
    worker.kill()
    failed = await wait_for(client.operations, operation.name, timeout=30)
    assert failed.error.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    assert "was killed after step" in failed.error.message
    assert "lack of memory" in failed.error.message
    assert store.exists("trainingRuns/killed/checkpoint.safetensors")
    resumed = await client.train("killed", **LONG)
    assert resumed.result.accuracy == undisturbed.result.accuracy
    assert resumed.result.classes == undisturbed.result.classes
    assert resumed.result.final_loss == undisturbed.result.final_loss
    weights = [run.result.weights_uri.removeprefix("store:") for run in (undisturbed, resumed)]
    assert store.get(weights[0]) == store.get(weights[1])
    assert not store.exists("trainingRuns/killed/checkpoint.safetensors")
    metrics = [store.get(f"trainingRuns/{name}/metrics.jsonl") for name in ("calm", "killed")]
    assert metrics[0] == metrics[1]


async def test_a_run_goes_on_in_a_new_server_without_the_old_ones_disk(
    settings, store, tmp_path: Path
):
    async for client in _connect(settings(checkpoint_seconds=0.0), store):
        await client.create("moved", **LONG)
        await steps(client, "moved", 10)
    assert not workers()
    elsewhere = settings(scratch=tmp_path / "other", checkpoint_seconds=0.0)
    async for client in _connect(elsewhere, store):
        operation = await client.create("moved", **LONG)
        progress = pb.CreateTrainingRunMetadata()
        while not progress.done_step_count:
            await asyncio.sleep(0.01)
            request = operations_pb2.GetOperationRequest(name=operation.name)
            (await client.operations.GetOperation(request, timeout=5)).metadata.Unpack(progress)
        assert progress.done_step_count > 10
        run = await client.train("moved", **LONG)
        assert run.result.test_image_count == 30


async def test_a_cancelled_run_stops_and_the_next_run_trains(client):
    operation = await client.create("cancelled", step_count=100_000)
    await steps(client, "cancelled", 0) if workers() else await asyncio.sleep(1.0)
    request = operations_pb2.CancelOperationRequest(name=operation.name)
    await client.operations.CancelOperation(request, timeout=5)
    stopped = await wait_for(client.operations, operation.name, timeout=10)
    assert stopped.error.code == grpc.StatusCode.CANCELLED.value[0]
    assert not workers()
    run = await client.train("next")
    assert run.result.test_image_count == 30


async def test_a_waiting_run_can_be_cancelled_without_touching_the_one_that_trains(client):
    first = await client.create("trains", step_count=150)
    waiting = await client.create("waits", step_count=100_000)
    request = operations_pb2.CancelOperationRequest(name=waiting.name)
    await client.operations.CancelOperation(request, timeout=5)
    stopped = await wait_for(client.operations, waiting.name, timeout=10)
    assert stopped.error.code == grpc.StatusCode.CANCELLED.value[0]
    done = await wait_for(client.operations, first.name, timeout=60)
    assert not done.HasField("error")


async def test_no_worker_outlives_its_server(settings, store):
    async with running(create_service(settings(), store)):
        pass
    async for client in _connect(settings(), store):
        await client.train("leaves-a-warm-worker")
        assert len(workers()) == 1
    assert not workers()


async def test_an_idle_worker_ends_and_a_later_run_starts_another(settings, store):
    async for client in _connect(settings(idle_seconds=0.1), store):
        await client.train("before")
        [worker] = workers()
        await asyncio.to_thread(worker.wait, 10)
        await client.train("after")


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_worker_ends_when_its_parent_is_killed():
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import subprocess, sys, time\n"
            "child = subprocess.Popen([sys.executable, '-m', 'trainer.worker'],"
            " stdin=subprocess.PIPE)\n"
            "print(child.pid, flush=True)\n"
            "time.sleep(60)",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        os.kill(parent.pid, signal.SIGKILL)
    child_gone, _ = psutil.wait_procs([child], timeout=30)
    assert child_gone == [child]
