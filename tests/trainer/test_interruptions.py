"""Runs that are killed, cancelled or orphaned."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import grpc
import psutil
import pytest
from google.longrunning import operations_pb2
from variegate.trainer.v1 import trainer_pb2 as pb

from servicekit.operations import wait_for
from servicekit.storage import DirectoryStore
from tests.trainer.conftest import DATASET, SYNTHETIC, connect, put_manifest, settings
from tests.trainer.launching import training_processes

pytestmark = pytest.mark.asyncio(loop_scope="module")


def workers() -> list[psutil.Process]:
    return training_processes(recursive=False)


async def steps(client, run_id: str, count: int) -> None:
    """Returns when the run has reported `count` times."""
    request = pb.WatchMetricsRequest(training_run=f"trainingRuns/{run_id}")
    async for _ in client.trainer.WatchMetrics(request):
        count -= 1
        if not count:
            return


LONG = {"step_count": 50, "synthetic_manifest_uri": SYNTHETIC, "strategy": "two_phase", "seed": 7}


async def test_a_run_whose_worker_is_killed_goes_on_to_the_undisturbed_result(client, store):
    undisturbed = await client.train("calm", **LONG)
    operation = await client.create("killed", **LONG)
    await steps(client, "killed", 8)
    [worker] = workers()
    worker.kill()
    failed = await wait_for(client.operations, operation.name, timeout=60)
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


async def test_a_killed_run_loses_no_more_than_a_checkpoints_age_however_rare_its_reports(
    client, store
):
    key, steps = "trainingRuns/slow/checkpoint.safetensors", 100_000  # the first report is at 2,000
    operation = await client.create("slow", step_count=steps)
    async with asyncio.timeout(60):
        while not store.exists(key):
            await asyncio.sleep(0.02)
    [worker] = workers()
    worker.kill()
    failed = await wait_for(client.operations, operation.name, timeout=60)
    facts = json.loads(load_facts(store.get(key)))
    assert 0 < facts["progress"]["step"] < 2000 and not facts["progress"]["reports"]
    assert "was killed after step" in failed.error.message
    assert "after step 0," not in failed.error.message


def load_facts(data: bytes) -> str:
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return header["__metadata__"]["facts"]


async def test_a_run_goes_on_in_a_new_server_without_the_old_ones_disk(store, tmp_path: Path):
    others = workers()
    async with connect(settings(tmp_path / "one"), store) as client:
        await client.create("moved", **LONG)
        await steps(client, "moved", 10)
    assert workers() == others, "a worker outlived its server"
    async with connect(settings(tmp_path / "other"), store) as client:
        request = pb.WatchMetricsRequest(training_run="trainingRuns/moved")
        kept = [m.step async for m in client.trainer.WatchMetrics(request)]
        assert kept and kept[-1] < 50
        assert store.exists("trainingRuns/moved/checkpoint.safetensors")
        run = await client.train("moved", **LONG)
        assert run.result.test_image_count == 30
        assert not store.exists("trainingRuns/moved/checkpoint.safetensors")


async def test_a_cancelled_run_stops_and_the_next_run_trains(client):
    operation = await client.create("cancelled", step_count=100_000)
    await asyncio.sleep(0.3)
    request = operations_pb2.CancelOperationRequest(name=operation.name)
    await client.operations.CancelOperation(request, timeout=60)
    stopped = await wait_for(client.operations, operation.name, timeout=60)
    assert stopped.error.code == grpc.StatusCode.CANCELLED.value[0]
    assert not workers()
    run = await client.train("next")
    assert run.result.test_image_count == 30


async def test_a_waiting_run_can_be_cancelled_without_touching_the_one_that_trains(client):
    first = await client.create("trains", step_count=60)
    waiting = await client.create("waits", step_count=100_000)
    request = operations_pb2.CancelOperationRequest(name=waiting.name)
    await client.operations.CancelOperation(request, timeout=60)
    stopped = await wait_for(client.operations, waiting.name, timeout=60)
    assert stopped.error.code == grpc.StatusCode.CANCELLED.value[0]
    done = await wait_for(client.operations, first.name, timeout=60)
    assert not done.HasField("error")


async def test_an_idle_worker_ends_and_a_later_run_starts_another(store, tmp_path: Path):
    others = workers()
    async with connect(settings(tmp_path, idle_seconds=0.1), store) as client:
        await client.train("before")
        for worker in set(workers()) - set(others):
            await asyncio.to_thread(worker.wait, 60)
        assert workers() == others
        await client.train("after")


async def test_a_worker_ends_when_its_parent_is_killed():
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
    child_gone, _ = psutil.wait_procs([child], timeout=60)
    assert child_gone == [child]


class Gate(DirectoryStore):
    """A store that is slow where a key has the ending that it is told."""

    ending = "-"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, durable=False)
        self.reached, self.opened = threading.Event(), threading.Event()

    def _pass(self, key: str) -> None:
        if key.endswith(self.ending):
            self.reached.set()
            assert self.opened.wait(60)

    def get(self, key: str) -> bytes:
        self._pass(key)
        return super().get(key)

    def put(self, key: str, data: bytes, *, overwrite: bool = False) -> bool:
        self._pass(key)
        return super().put(key, data, overwrite=overwrite)


@pytest.mark.parametrize("ending", ["weights.safetensors", ".jpg"])
async def test_a_run_started_again_at_once_waits_for_what_its_cancelled_one_still_writes(
    tmp_path: Path, photos, ending
):
    store = Gate(tmp_path / "store")
    for key, data in photos.files.items():
        store.put(key, data)
    put_manifest(store, DATASET, photos.train + photos.test)
    store.ending = ending
    async with connect(settings(tmp_path / "scratch"), store) as client:
        operation = await client.create("again")
        assert await asyncio.to_thread(store.reached.wait, 60)
        request = operations_pb2.CancelOperationRequest(name=operation.name)
        await client.operations.CancelOperation(request, timeout=60)
        await asyncio.sleep(0.5)
        query = operations_pb2.GetOperationRequest(name=operation.name)
        assert not (await client.operations.GetOperation(query, timeout=60)).done
        again = asyncio.create_task(client.train("again"))
        await asyncio.sleep(0.2)
        store.opened.set()
        assert (await again).result.test_image_count == 30
