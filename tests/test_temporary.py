"""Folders of killed test processes are removed by the next one."""

import subprocess
import sys
import tempfile

from tests.temporary import own_folder

PROGRAM = "import os, signal; from tests.temporary import own_folder as o; print(o('{0}'), flush=1)"


def test_the_folder_of_a_killed_process_goes_and_that_of_a_living_one_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    program = PROGRAM.format("variegate-x-") + "; os.kill(os.getpid(), signal.SIGKILL)"
    left = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout
    living = own_folder("variegate-x-")
    assert left.strip() and [*tmp_path.iterdir()] == [living]
    own_folder("variegate-x-")
    assert living.is_dir()
