"""Servers of other projects end with us."""

import os
import signal
import subprocess
import sys

import psutil
import pytest

from servicekit.leash import start_leashed, stop_leashed

# A server that starts a helper of its own and takes it along when it is told to end.
SERVER = """
import signal, subprocess, sys
helper = subprocess.Popen(["sleep", "600"])
signal.signal(signal.SIGTERM, lambda *_: (helper.kill(), sys.exit(7)))
print("ready", flush=True)
helper.wait()
"""
STUBBORN = SERVER.replace("(helper.kill(), sys.exit(7))", "None")


def start(tmp_path, program):
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = start_leashed([sys.executable, "-c", program], out, dict(os.environ))
    while b"ready" not in log.read_bytes():
        assert process.poll() is None
    return process


def family_of(process):
    return psutil.Process(process.pid).children(recursive=True)


def test_a_server_is_told_to_end_and_its_code_is_kept(tmp_path):
    process = start(tmp_path, SERVER)
    family = family_of(process)
    assert stop_leashed(process, 10)
    assert process.returncode == 7
    assert psutil.wait_procs(family, timeout=5)[1] == []


def test_a_server_that_does_not_end_is_killed_with_its_helpers(tmp_path):
    process = start(tmp_path, STUBBORN)
    family = family_of(process)
    assert not stop_leashed(process, 0.3)
    assert psutil.wait_procs(family, timeout=5)[1] == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_ends_when_the_process_that_started_it_is_killed(tmp_path, number):
    program = (
        "import sys, time; from pathlib import Path; from tests.servicekit.test_leash import *\n"
        f"print(start(Path({str(tmp_path)!r}), SERVER).pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        family = psutil.Process(int(parent.stdout.readline())).children(recursive=True)
        assert len(family) >= 2
        parent.send_signal(number)
        assert psutil.wait_procs(family, timeout=10)[1] == []
