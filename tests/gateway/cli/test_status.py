"""`variegate status` and `cancel`, against a real gRPC server."""

import subprocess
import sys

import pytest
from variegate.gateway.v1 import gateway_pb2 as pb
from variegate.trainer.v1 import trainer_pb2

from servicekit.errors import Cancelled, Internal


def test_status_lists_operations_and_cancel_stops_one(variegate, gateway):
    gateway.stay_running = True
    gateway.operation("operations/slow", pb.Augmentation())
    listed = variegate("status", "--gateway", gateway.target, "--json")
    assert listed.document["operations"][0]["state"] == "running"
    assert listed.document["operations"][0]["pace"] == "2.0 images/s, 0:01 left"
    assert "generate" in variegate("status", "--gateway", gateway.target).out
    answer = variegate("cancel", "operations/slow", "--gateway", gateway.target)
    assert answer.code == 0
    assert gateway.requests[-1].name == "operations/slow"


LONG = "operations/datasets.photographs-of-birds-0123456789ab.augmentations." + "mvc-" * 15


def test_status_breaks_no_name_however_narrow_the_terminal_is(variegate, gateway, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    gateway.stay_running = True
    gateway.operation(LONG, pb.Augmentation())
    assert LONG in variegate("status", "--gateway", gateway.target).out


def test_status_tells_cancelled_from_failed_and_for_how_long_it_went_on(variegate, gateway):
    gateway.failure = Cancelled("cancelled; repeating the request continues it")
    gateway.operation("operations/cancelled", pb.Augmentation())
    gateway.failure = Internal("it broke")
    gateway.operation("operations/failed", pb.Augmentation())
    for operation in gateway.operations.values():
        progress = pb.OperationProgress()
        progress.create_time.FromSeconds(1_800_000_000)
        progress.end_time.FromSeconds(1_800_000_075)
        operation.metadata.Pack(progress)
    rows = variegate("status", "--gateway", gateway.target, "--json").document["operations"]
    assert [row["state"] for row in rows] == ["cancelled", "failed"]
    assert [row["seconds"] for row in rows] == [75, 75]
    shown = variegate("status", "--gateway", gateway.target).out
    assert "operations/cancelled  cancelled" in shown
    assert "began 2027-01-1" in shown and "took 1:15" in shown


@pytest.fixture
def held(tmp_path, gateway):
    """A state folder that a process holds whose gateway is at work."""
    state = tmp_path / "state"
    state.mkdir()
    code = (
        "import fcntl, os, pathlib, sys, time\n"
        "from gateway.cli.running import published\n"
        "lock = pathlib.Path(sys.argv[1], 'lock').open('a+')\n"
        "fcntl.flock(lock, fcntl.LOCK_EX)\n"
        "lock.write(str(os.getpid())); lock.flush()\n"
        "print('held', flush=True); sys.stdin.readline()\n"
        "targets = {name: sys.argv[2] for name in ('gateway', 'trainer')}\n"
        "sys.argv = ['variegate', 'augment', './a photo']\n"
        "with published(pathlib.Path(lock.name).parent, targets, is_shared=False):\n"
        "    print('published', flush=True); sys.stdin.readline()"
    )
    command = [sys.executable, "-c", code, str(state), gateway.target]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout.readline() == "held\n"
        yield state, process
        process.kill()


def test_status_finds_whatever_command_holds_the_state_and_cancel_reaches_it(
    variegate, gateway, photos, held
):
    state, process = held
    early = variegate("status", "--state", state)
    assert early.code == 4
    assert f"The system of process {process.pid}" in early.err and "starting" in early.err
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "published\n"
    gateway.stay_running = True
    gateway.operation("operations/slow", pb.Augmentation())
    gateway.operation("operations/trainer-cli-real-1", trainer_pb2.TrainingRun())
    answer = variegate("status", "--state", state)
    assert answer.code == 0
    assert f"process {process.pid} since" in answer.out
    assert "variegate augment './a photo'" in answer.out
    assert "operations/slow  running" in answer.out
    for name in ("operations/slow", "operations/trainer-cli-real-1"):
        assert variegate("cancel", name, "--state", state).code == 0
        assert gateway.requests[-1].name == name
    # It takes no other work: it may not read what others bring, and ends with its own command.
    refused = variegate("augment", photos, "--state", state)
    assert refused.code == 3
    assert "is in use by process" in refused.err and "augment './a photo'" in refused.err
