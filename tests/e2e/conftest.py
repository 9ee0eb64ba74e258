"""Small folders of real photographs, and a command line with a state of its own."""

import io
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from servicekit.storage import kind_of
from tests.command_line import ROOT, CommandLine
from tests.tests_ports import free_port

DEMO = ROOT / "models" / "nano" / "demo"


def write_folder(source: str, folder: Path, classes: list[str], count: int) -> Path:
    """Writes `count` PNGs a class from a demo parquet file into a folder per class."""
    left = dict.fromkeys(classes, count)
    for row in pq.read_table(DEMO / f"{source}.parquet").to_pylist():
        name = row["class_name"]
        if left.get(name, 0) > 0:
            left[name] -= 1
            (folder / name).mkdir(parents=True, exist_ok=True)
            image = Image.open(io.BytesIO(row["image"]["bytes"]))
            image.save(folder / name / f"{left[name]:02d}.png")
    return folder


@pytest.fixture(scope="session")
def photographs(tmp_path_factory) -> Path:
    """Returns a folder with train/ (3 classes of 4) and test/ (3 classes of 10)."""
    root = tmp_path_factory.mktemp("photographs")
    classes = ["airplane", "dog", "ship"]
    write_folder("target", root / "train", classes, 4)
    write_folder("test", root / "test", classes, 10)
    return root


@pytest.fixture
def variegate(tmp_path):
    yield CommandLine(tmp_path)
    objects = tmp_path / ".variegate" / "objects"
    if objects.is_dir():
        files = [one for one in objects.rglob("*") if one.is_file() and not one.is_symlink()]
        keys = {one.relative_to(objects).as_posix() for one in files}
        strangers = {key for key in keys if kind_of(key) is None and key[:8] != ".staging"}
        assert not strangers, "servicekit/storage/kinds.py does not list their kinds"


@contextmanager
def up(line: CommandLine, *options: str | Path, state: str = ".variegate") -> Iterator[None]:
    """Runs `variegate up` beside the block's commands: loading the models is most of what each
    takes, and is done once.
    """
    process = line.start(
        "up", "--port-base", str(free_port()), "--import-root", "/", "--state", state, *options
    )
    try:
        deadline = time.monotonic() + 200
        while not (line.folder / state / "system.json").exists():
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline, "the system did not start"
            time.sleep(0.2)
        yield
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert "Traceback" not in err
