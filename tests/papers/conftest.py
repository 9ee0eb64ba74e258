"""A whole system in this process, and tiny data of the form that each paper's study takes."""

import asyncio
import contextlib
import io
import json
import threading

import pytest

from embedded.system import EmbeddedSystem
from gateway.cli.main import main
from tests.gateway.pictures import write_folder, write_pool

CLASSES = ("airplane", "dog", "ship")


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """train/ (3 classes of 10), test/ (3 of 4) and pool.parquet, of noise."""
    root = tmp_path_factory.mktemp("data")
    write_folder(root / "train", CLASSES, count=10)
    write_folder(root / "test", CLASSES, count=4, tag="test")
    write_pool(root / "pool.parquet", CLASSES, count=12)
    return root


@pytest.fixture(scope="session")
def system(data, tmp_path_factory):
    """The address of a running system's gateway, and the URL of its store."""
    state = tmp_path_factory.mktemp("state")
    loop, ready, stopped = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    found = {}

    async def serve():
        async with EmbeddedSystem(state, [data]) as running:
            found["target"] = running.target
            ready.set()
            await stopped.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(200), "the system did not start"
    yield found["target"], (state / "objects").as_uri()
    loop.call_soon_threadsafe(stopped.set)
    thread.join(60)
    loop.close()


@pytest.fixture
def variegate(system, tmp_path, monkeypatch):
    """Runs a command with --json in an empty folder; returns exit code, document and messages."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        target, store = system
        out, err = io.StringIO(), io.StringIO()
        streams = contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)
        with streams[0], streams[1], pytest.raises(SystemExit) as end:
            main([*map(str, words), "--gateway", target, "--store", store, "--json"])
        text = out.getvalue()
        return end.value.code, json.loads(text) if text.strip() else {}, err.getvalue()

    return run
