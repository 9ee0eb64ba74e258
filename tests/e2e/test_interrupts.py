"""Ctrl-C and SIGTERM at every stage of a run: it ends soon, says what is kept, and goes on."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

# Two seconds are promised; the machine of a test may be busy.
SOON = 4.0
KEPT = "What is finished is kept. Run the same command again to go on."


def end(process: subprocess.Popen, stage: str, number: signal.Signals) -> tuple[str, float]:
    """Sends a signal once the stage has begun, to the whole group as a terminal does."""
    said, began = [], threading.Event()

    def read():
        for line in process.stderr:
            said.append(line)
            if stage in line:
                began.set()
        began.set()

    reader = threading.Thread(target=read)
    reader.start()
    assert began.wait(120), said
    assert any(stage in line for line in said), said
    time.sleep(0.3)
    assert process.poll() is None, said
    sent = time.monotonic()
    os.killpg(process.pid, number)
    process.wait(60)
    seconds = time.monotonic() - sent
    reader.join(10)
    process.stderr.close()
    return "".join(said), seconds


@pytest.fixture(scope="module")
def heavy(tmp_path_factory, photographs):
    """Photographs, and many that take long to decode."""
    folder = tmp_path_factory.mktemp("heavy") / "train"
    shutil.copytree(photographs / "train", folder)
    path = folder / "dog" / "big0.png"
    Image.new("RGB", (5000, 5000)).save(path, compress_level=1)
    for at in range(1, 40):
        (folder / "dog" / f"big{at}.png").write_bytes(path.read_bytes() + bytes([at]))
    return folder


@pytest.mark.slow
@pytest.mark.heavy
@pytest.mark.parametrize(
    ("stage", "number"),
    [
        ("starting the services", signal.SIGINT),
        ("inspect train", signal.SIGINT),
        ("inspect train", signal.SIGTERM),
    ],
)
def test_an_import_that_is_interrupted_ends_soon(variegate, heavy, stage, number):
    process = variegate.start("import", heavy)
    err, seconds = end(process, stage, number)
    process.stdout.close()
    assert process.returncode == 128 + number, err
    assert KEPT in err and "Traceback" not in err
    assert seconds < SOON


@pytest.mark.slow
@pytest.mark.heavy
@pytest.mark.timeout(400)
def test_an_augmentation_that_is_interrupted_at_every_stage_goes_on_and_ends_well(
    variegate, photographs
):
    command = [
        "augment", photographs / "train", "--per-class", "40", "--steps", "20", "--out", "new"
    ]  # fmt: skip
    for stage, number in [("generate, 0", signal.SIGINT), ("generate", signal.SIGTERM)]:
        process = variegate.start(*command)
        err, seconds = end(process, stage, number)
        goes_on = re.search("going on with (operations/[^,]*augmentations[^,]*), which was", err)
        assert bool(goes_on) == (number is signal.SIGTERM), err
        process.stdout.close()
        assert process.returncode == 128 + number, err
        assert KEPT in err and "Traceback" not in err
        assert seconds < SOON
        assert not list(variegate.folder.glob("new/*/*"))  # nothing is half-written
    finished = variegate(*command, "--json")
    assert finished.code == 0, finished.err
    assert finished.json()["accepted_count"] == 120


@pytest.mark.slow
@pytest.mark.heavy
def test_a_training_that_is_interrupted_leaves_no_worker_behind(variegate, photographs):
    command = [
        "train", photographs / "train", "--test", photographs / "test", "--train-steps", "100000",
        "--seeds", "1", "--json",
    ]  # fmt: skip
    process = variegate.start(*command)
    err, seconds = end(process, "steps", signal.SIGINT)
    assert process.returncode == 130
    assert "Traceback" not in err and "ended unexpectedly" not in err
    with process.stdout as out:
        assert '"reason": "INTERRUPTED"' in out.read()
    assert seconds < SOON
    deadline = time.monotonic() + 10
    while workers_in(variegate.folder):
        assert time.monotonic() < deadline, "a worker trains on"
        time.sleep(0.2)


def workers_in(folder) -> list[str]:
    """Processes whose current folder it is."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "cwd").readlink() == folder:
                found.append(process.name)
    return found


def test_what_keeps_a_command_is_not_waited_for_and_a_second_ctrl_c_ends_it_at_once(tmp_path):
    """Threads, the loop's executor and code of the interpreter's end that take for ever."""
    code = (
        "import asyncio, atexit, sys, threading, time\n"
        "import typer\n"
        "from gateway.cli.execute import KEPT, settle\n"
        "from gateway.cli.interrupts import run\n"
        "from gateway.cli.options import Common\n"
        "atexit.register(time.sleep, 60)\n"
        "threading.Thread(target=time.sleep, args=(60,)).start()\n"
        "async def work():\n"
        "    task = asyncio.create_task(asyncio.to_thread(time.sleep, 60))\n"
        "    await asyncio.sleep(0.1)\n"
        "    print('at work', flush=True)\n"
        "    time.sleep(60) if {blocked} else await task\n"
        # As `main` ends: by the code. The end of the interpreter would have to wait, too.
        "try:\n"
        "    settle(Common(), lambda: run(work()), KEPT)\n"
        "except typer.Exit as end:\n"
        "    sys.exit(end.exit_code)"
    )
    for blocked, presses, least in [(False, 1, 1.0), (True, 1, 1.0), (False, 2, 0.4)]:
        process = subprocess.Popen(
            [sys.executable, "-c", code.format(blocked=blocked)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout.readline() == "at work\n"
        sent = time.monotonic()
        for press in range(presses):
            time.sleep(0.5 * press)
            process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
        assert least < time.monotonic() - sent < (SOON if presses == 1 else 1.4)
        assert process.returncode == 130
        assert err.count(KEPT) == 1 and "Traceback" not in err


def test_sigterm_ends_a_job_of_a_script_in_good_order(tmp_path):
    """A script's `variegate ... &` runs with SIGINT ignored: asyncio then sees to no signal."""
    code = (
        "import asyncio, signal, sys\n"
        "import typer\n"
        "from gateway.cli.execute import KEPT, settle\n"
        "from gateway.cli.interrupts import run\n"
        "from gateway.cli.options import Common\n"
        "async def work():\n"
        "    print('at work', flush=True)\n"
        "    try:\n"
        "        await asyncio.sleep(60)\n"
        "    finally:\n"
        "        await asyncio.sleep(0.1)\n"
        "        print('in good order', flush=True)\n"
        "try:\n"
        "    settle(Common(), lambda: run(work()), KEPT)\n"
        "except typer.Exit as end:\n"
        "    sys.exit(end.exit_code)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    assert process.stdout.readline() == "at work\n"
    process.send_signal(signal.SIGINT)  # what is ignored stays ignored
    time.sleep(0.2)
    assert process.poll() is None
    process.terminate()
    out, err = process.communicate(timeout=30)
    assert (out, process.returncode) == ("in good order\n", 143), err
    assert err.split("\n")[:2] == ["error: Terminated.", KEPT], err
