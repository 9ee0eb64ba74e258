"""Six services as six processes on a real S3 server, as a cluster runs them, and the command line
beside them; then the S3 server is killed in mid-job."""

import hashlib
import json
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from command_line import CommandLine
from tests_ports import free_port

from tests.seaweed import CREDENTIALS, Seaweed
from tests.service_process import ServiceProcess

pytestmark = [pytest.mark.servers, pytest.mark.slow]

FIVE = ("captioner", "prompter", "generator", "retriever", "trainer")


class Processes:
    """One process per service, each told its port and store by the environment."""

    def __init__(self, folder: Path, store: str, roots: Path) -> None:
        self.folder, self.store, self.roots = folder, store, roots
        self.targets = {name: f"127.0.0.1:{free_port()}" for name in (*FIVE, "gateway")}
        self.running: list[ServiceProcess] = []

    def start(self) -> None:
        for name, target in self.targets.items():
            environ = {**CREDENTIALS, "SERVER_STORE": self.store, **self._own(name)}
            log = self.folder / f"{name}.log"
            self.running.append(ServiceProcess.start(name, target, log, **environ))
        for one in self.running:
            one.wait()

    def _own(self, name: str) -> dict[str, str]:
        if name == "trainer":
            return {"TRAINER_SCRATCH": str(self.folder / "scratch"), "TRAINER_THREADS": "1"}
        if name == "gateway":
            return {
                **{f"GATEWAY_{other.upper()}": self.targets[other] for other in FIVE},
                "GATEWAY_DATABASE_URL": f"sqlite:///{self.folder}/gateway.sqlite",
                "GATEWAY_IMPORT_ROOTS": str(self.roots),
            }
        return {}

    def stop(self) -> dict[str, int]:
        """Ends all by SIGTERM and returns their exit codes."""
        for one in self.running:
            one.process.terminate()
        return {one.name: one.process.wait(60) for one in self.running}


@pytest.fixture(scope="module")
def weed(tmp_path_factory):
    server = Seaweed(tmp_path_factory.mktemp("weed"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def processes(weed, photographs, tmp_path_factory):
    six = Processes(tmp_path_factory.mktemp("six"), weed.url, photographs)
    try:
        six.start()
        yield six
    finally:
        codes = six.stop()
    assert set(codes.values()) == {0}, codes


@pytest.fixture
def remote(processes, weed, tmp_path, monkeypatch):
    """Runs `variegate` against the six processes."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("VARIEGATE_STORE", weed.url)
    monkeypatch.setenv("VARIEGATE_GATEWAY", processes.targets["gateway"])
    monkeypatch.setenv("VARIEGATE_TRAINER", processes.targets["trainer"])
    return CommandLine(tmp_path)


def augment(photographs, out, seed):
    return [
        "augment", photographs / "train", "--method", "mvc", "--per-class", "12", "--steps", "8",
        "--seed", seed, "--deterministic", "--out", out, "--json",
    ]  # fmt: skip


def images(out: Path) -> dict[str, str]:
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*.png"))
    }


@pytest.mark.timeout(400)
def test_a_folder_is_augmented_and_trained_on_by_six_processes(remote, photographs, tmp_path):
    made = remote(*augment(photographs, tmp_path / "out", "1"))
    assert made.code == 0, made.err
    assert made.json()["accepted_count"] == 36
    assert len(images(tmp_path / "out")) == 36
    trained = remote(
        "train", photographs / "train", "--test", photographs / "test", "--synthetic",
        tmp_path / "out", "--train-steps", "20", "--json",
    )  # fmt: skip
    assert trained.code == 0, trained.err
    [_, row] = trained.json()["rows"]
    assert row["synthetic_image_count"] == 36


@pytest.mark.timeout(400)
def test_an_s3_server_killed_in_mid_job_loses_nothing(remote, weed, photographs, tmp_path):
    store = weed.store()
    before = set(store.list("generated/"))
    process = remote.start(*augment(photographs, tmp_path / "out", "2"))
    while len(set(store.list("generated/")) - before) < 4:
        assert process.poll() is None, "the job was over before the server was killed"
        time.sleep(0.1)
    weed.kill()
    time.sleep(2)
    weed.start()
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    rows = pq.read_table(tmp_path / "out" / "manifest.parquet").to_pylist()
    assert len({row["item_id"] for row in rows}) == len(rows) == 36
    assert len(set(images(tmp_path / "out").values())) == 36
    made = set(store.list("generated/")) - before
    assert len(made) == 36 + json.loads(out)["rejected_count"], "lost or made twice"
