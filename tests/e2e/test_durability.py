"""kill -9 at any moment, then the same command: nothing lost, nothing made twice."""

import hashlib
import os
import random
import signal
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from command_line import CommandLine

SEEDED = random.Random(20261121)


def augment(folder: Path, photographs: Path) -> list[str | Path]:
    return [
        "augment", photographs / "train", "--method", "mvc", "--per-class", "12", "--steps", "8",
        "--deterministic", "--out", folder / "augmented", "--state", folder / "state", "--json",
    ]  # fmt: skip


def outcome(folder: Path) -> tuple[bytes, dict[str, str]]:
    """The manifest's bytes and the digest of every exported image."""
    out = folder / "augmented"
    digests = {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*.png"))
    }
    return (out / "manifest.parquet").read_bytes(), digests


@pytest.fixture(scope="module")
def undisturbed(photographs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    started = time.monotonic()
    finished = CommandLine(folder)(*augment(folder, photographs))
    assert finished.code == 0, finished.err
    return outcome(folder), time.monotonic() - started


@pytest.mark.slow
@pytest.mark.heavy
def test_an_undisturbed_run_makes_what_was_asked_for(undisturbed):
    (_, digests), _ = undisturbed
    assert len(digests) == 36
    assert len(set(digests.values())) == 36


@pytest.mark.slow
@pytest.mark.heavy
@pytest.mark.timeout(600)
@pytest.mark.parametrize("moments", [[0.35, 0.7], [0.5, 0.6, 0.8]], ids=["twice", "thrice"])
def test_a_run_killed_at_random_moments_ends_like_an_undisturbed_one(
    undisturbed, photographs, tmp_path, moments
):
    expected, seconds = undisturbed
    variegate = CommandLine(tmp_path)
    command = augment(tmp_path, photographs)
    killed = 0
    for share in moments:
        process = variegate.start(*command, "--resume")
        time.sleep(seconds * share * SEEDED.uniform(0.85, 1.15))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            killed += 1
        process.communicate()
    assert killed
    finished = variegate(*command, "--resume")
    assert finished.code == 0, finished.err
    manifest, digests = outcome(tmp_path)
    assert digests == expected[1]
    assert manifest == expected[0]
    rows = pq.read_table(tmp_path / "augmented" / "manifest.parquet").to_pylist()
    assert len({row["item_id"] for row in rows}) == len(rows) == 36
