"""A real gRPC server with a small gateway, so that commands are tested over the wire."""

import asyncio
import contextlib
import io
import json
import threading
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
from google.longrunning import operations_pb2_grpc
from PIL import Image
from variegate.gateway.v1 import gateway_pb2_grpc
from variegate.trainer.v1 import trainer_pb2_grpc

from gateway.cli.main import main
from servicekit.storage import DirectoryStore
from tests.gateway.cli.made import put_augmentation, put_dataset
from tests.gateway.cli.small_system import Gateway, Operations, Trainer
from tests.tests_ports import free_port


@contextlib.contextmanager
def serving(servicer, issued=None):
    """A gateway in a thread of its own, since commands run their own event loop; with TLS if it was
    issued a certificate."""
    ready, loop = threading.Event(), asyncio.new_event_loop()

    async def serve():
        server = grpc.aio.server()
        gateway_pb2_grpc.add_GatewayServiceServicer_to_server(servicer, server)
        trainer_pb2_grpc.add_TrainerServiceServicer_to_server(Trainer(servicer), server)
        operations_pb2_grpc.add_OperationsServicer_to_server(Operations(servicer), server)
        servicer.target = f"127.0.0.1:{listen(server)}"
        servicer.stopped = asyncio.Event()
        await server.start()
        ready.set()
        await servicer.stopped.wait()
        await server.stop(0)

    def listen(server):
        if issued is None:
            return server.add_insecure_port("127.0.0.1:0")
        credentials = grpc.ssl_server_credentials([(issued.key, issued.certificate)])
        return server.add_secure_port("127.0.0.1:0", credentials)

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    ready.wait(10)
    yield servicer
    loop.call_soon_threadsafe(servicer.stopped.set)
    thread.join(10)
    loop.close()


@pytest.fixture
def gateway():
    with serving(Gateway()) as found:
        yield found


@dataclass
class Answer:
    code: int
    out: str
    err: str
    document: dict = field(default_factory=dict)


@pytest.fixture
def variegate(tmp_path, monkeypatch):
    """Runs a command line in an empty folder and returns its exit code and output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    for name in ("GATEWAY", "STORE", "STATE", "TRAINER"):
        monkeypatch.delenv(f"VARIEGATE_{name}", raising=False)

    def run(*arguments):
        out, err = io.StringIO(), io.StringIO()
        streams = contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)
        with streams[0], streams[1], pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        text = out.getvalue()
        document = json.loads(text) if "--json" in arguments else {}
        return Answer(end.value.code, text, err.getvalue(), document)

    return run


@pytest.fixture
def photos(tmp_path):
    """A folder with two classes of two photographs."""
    root = tmp_path / "my photos"
    for at, name in enumerate(("cat", "dog")):
        for number in range(2):
            path = root / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (90 * at, 50 * number, 30)).save(path)
    return Path(root)


@pytest.fixture
def unused_port():
    return free_port()


@pytest.fixture
def at(gateway, tmp_path):
    """The options of the running system."""
    store = (tmp_path / "store").as_uri()
    return ["--gateway", gateway.target, "--store", store]


@pytest.fixture
def made(gateway, tmp_path):
    """The arguments that lead to a gateway whose augmentation exists."""
    store = DirectoryStore(tmp_path / "objects")
    gateway.augmentation_result.manifest_uri = put_augmentation(store)
    gateway.manifest_uri = put_dataset(store)
    gateway.augmentation_result.seconds["generate"] = 1.5
    return ["--gateway", gateway.target, "--store", (tmp_path / "objects").as_uri()]


@pytest.fixture
def train(variegate, gateway, made, photos):
    """Runs `train` with one finished output of augment, in the folder "new"."""
    assert variegate("augment", photos, "--out", "new", *made).code == 0
    command = ["train", photos, "--test", photos, "--trainer", gateway.target, *made]
    return lambda *more: variegate(*command, *more)
