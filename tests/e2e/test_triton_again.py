"""A Triton that dies under the embedded system is started anew, but not for ever."""

import asyncio
import logging
import time
from pathlib import Path

import grpc
import pyarrow.parquet as pq
import pytest

from embedded.keeper import Keeper
from embedded.system import EmbeddedSystem
from embedded.triton import ENGINE_KEY
from servicekit.server import Service
from tests.e2e.test_triton import images_of
from tests.programs import programs_in


def the_one(folder, name):
    """Returns the one process in a folder whose program has the name in it."""
    [found] = [one for one, line in programs_in(folder).items() if name in "".join(line[:1])]
    return found


async def images_again(target):
    """Asks until all images are made, as the gateway does."""
    async with asyncio.timeout(90):
        while True:
            try:
                made = await images_of(target)
                if all(image.sha256 for image in made.values()):
                    return made
            except grpc.aio.AioRpcError as error:
                assert error.code() is grpc.StatusCode.UNAVAILABLE
            await asyncio.sleep(0.5)


@pytest.mark.servers
@pytest.mark.heavy
@pytest.mark.timeout(240)
async def test_a_triton_that_was_killed_makes_images_again(tmp_path, monkeypatch):
    monkeypatch.setenv(ENGINE_KEY, "triton")
    options = {"generator.probe_seconds": 0.5}
    async with EmbeddedSystem(tmp_path / "state", options=options) as system:
        for name in ("triton_python_backend_stub", "tritonserver"):
            the_one(tmp_path / "state", name).kill()
            assert len(await images_again(system.targets["generator"])) == 5
    assert not programs_in(tmp_path / "state")
    # Of a stub that died Triton may have started another itself.
    log = (tmp_path / "state" / "variegate.log").read_text()
    assert "restarted, 1 of at most 5 times in 10 minutes" in log


@pytest.mark.servers
@pytest.mark.heavy
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_job_whose_triton_dies_goes_on_and_loses_nothing(
    variegate, photographs, tmp_path, monkeypatch
):
    monkeypatch.setenv(ENGINE_KEY, "triton")
    process = variegate.start(
        "augment", photographs / "train", "--method", "mvc", "--per-class", "30",
        "--steps", "20", "--out", tmp_path / "out", "--json",
    )  # fmt: skip
    objects = tmp_path / ".variegate" / "objects" / "generated"
    while len(list(objects.rglob("*.png"))) < 4:
        assert process.poll() is None, "the job was over before Triton was killed"
        time.sleep(0.05)
    the_one(tmp_path / ".variegate", "tritonserver").kill()
    _, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    rows = pq.read_table(tmp_path / "out" / "manifest.parquet").to_pylist()
    assert len({row["item_id"] for row in rows}) == len(rows) == 90
    assert "restarted, 1 of" in (tmp_path / ".variegate" / "variegate.log").read_text()


class Mortal:
    """A server that ends as soon as it is launched, or never gets well."""

    name, log, ready_seconds = "Triton", Path("triton.log"), 60.0

    def __init__(self, *, has_ended):
        self.has_ended, self.launched = has_ended, []

    def kill(self):
        pass

    def stop(self):
        pass

    def launch(self):
        self.launched.append(self.now)


async def probed(server, seconds):
    """Probes every five seconds in vain; returns when the server was launched."""
    keeper = Keeper(server, clock=lambda: server.now)

    async def probe():
        return False

    async def nothing():
        pass

    service = keeper.watch(Service("generator", (), lambda server: None, nothing, nothing, probe))
    for server.now in range(0, seconds, 5):
        assert await service.probe() is False
    keeper.close()
    server.now += 10_000
    await service.probe()
    return server.launched


async def test_one_that_ends_at_once_is_started_ever_more_slowly_and_five_times(caplog):
    with caplog.at_level(logging.WARNING):
        assert await probed(Mortal(has_ended=True), 600) == [0, 5, 10, 20, 40]
    assert "5 of at most 5 times in 10 minutes; see triton.log" in caplog.text


async def test_one_that_is_starting_gets_its_time():
    assert await probed(Mortal(has_ended=False), 200) == [0, 65, 130, 195]
