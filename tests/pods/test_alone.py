"""Two trials of the images at once."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.pods.alone import alone

HOLDER = """
import sys, time
from pathlib import Path
from tests.pods.alone import alone
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_trial_says_at_once_who_runs_the_first_and_may_run_when_that_is_gone(tmp_path):
    file = tmp_path / "lock"
    command = [sys.executable, "-c", HOLDER, str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None and first.stdout.readline() == "held\n"
        with pytest.raises(SystemExit, match=f"process {first.pid} in {Path.cwd()}; wait"):
            alone(file).__enter__()
        first.kill()
    with alone(file):
        assert file.read_text().startswith("process ")
