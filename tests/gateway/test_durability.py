"""kill -9 at any moment, then the same command: the undisturbed run's manifest, byte by byte."""

import io
import random
import signal
import subprocess
import sys
import time

import pyarrow.parquet as pq

from servicekit.storage import DirectoryStore
from tests.gateway.pictures import write_folder

AUGMENTATION = "datasets/pets/augmentations/a1"


def start(state, root):
    command = [sys.executable, "-m", "tests.gateway.killed", str(state), str(root)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(state, root):
    process = start(state, root)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err[-2000:]
    return out.split()[1:]


def files_of(state):
    store = DirectoryStore(state / "objects")
    return {
        name: store.get(f"{AUGMENTATION}/{name}.parquet")
        for name in ("manifest", "rejected", "unkept")
    }


def test_killed_runs_end_with_the_undisturbed_runs_manifest(tmp_path):
    write_folder(tmp_path / "train", count=4)
    write_folder(tmp_path / "test", count=2, tag="test")
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    expected = finish(calm, tmp_path)
    moments = random.Random(time.time_ns())
    for _ in range(3):
        process = start(killed, tmp_path)
        assert process.stdout.readline().strip() in ("started", "")
        time.sleep(moments.uniform(0.0, 0.8))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert finish(killed, tmp_path) == expected
    assert files_of(killed) == files_of(calm)
    rows = [
        row
        for data in files_of(killed).values()
        for row in pq.read_table(io.BytesIO(data)).to_pylist()
    ]
    made = {key.rpartition("/")[2] for key in DirectoryStore(killed / "objects").list("generated/")}
    assert made == {row["image_uri"].rpartition("/")[2] for row in rows}, "lost or made twice"
    assert len({row["item_id"] for row in rows}) == len(rows)
