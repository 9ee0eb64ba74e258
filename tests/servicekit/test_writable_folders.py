"""A folder of a service that cannot be written to ends it at its start with a sentence."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("setting", ["TRAINER_SCRATCH", "RETRIEVER_CACHE"])
@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("file/below", "Not a directory"),
        ("/proc/nowhere", "No such file or directory"),
        ("/proc", "No such file or directory"),  # is there, but takes no file, even from root
    ],
)
def test_a_folder_in_an_impossible_place_is_told(
    tmp_path: Path, place: str, why: str, setting: str
):
    (tmp_path / "file").touch()
    folder = tmp_path / place
    environ = {
        "SERVER_HOST": "127.0.0.1",
        "SERVER_PORT": "0",
        "SERVER_STORE": (tmp_path / "store").as_uri(),
        setting: str(folder),
    }
    service = setting.partition("_")[0].lower()
    done = subprocess.run(
        [sys.executable, "-m", service],
        env={**os.environ, **environ}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    said = (done.stdout + done.stderr).splitlines()
    assert done.returncode == 2
    assert [line for line in said if not line.startswith("{")] == [
        f"the {service} cannot start: nothing can be written into the folder {folder}: "
        f"{why}; set {setting} to a local folder that can be lost"
    ]
