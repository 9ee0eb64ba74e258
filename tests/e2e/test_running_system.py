"""`variegate up` as a person meets it: with grpcurl, from Python, and with Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import grpc
import pytest
from command_line import ROOT, CommandLine
from tests_ports import free_port

from tests.service_process import is_serving

GRPCURL = str(Path(sys.executable).with_name("grpcurl"))
SERVICES = ["gateway", "captioner", "prompter", "generator", "retriever", "trainer"]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """The port of the gateway of a running system; the others follow."""
    folder = tmp_path_factory.mktemp("up")
    port = free_port()
    process = CommandLine(folder).start("up", "--port-base", str(port), "--state", folder / "state")
    deadline = time.monotonic() + 200
    while not all(is_serving(f"127.0.0.1:{port + number}") for number in range(len(SERVICES))):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the system did not start"
        time.sleep(0.5)
    yield port
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode in (0, 130), err
    assert "Traceback" not in err


def grpcurl(port: int, *words: str, body: str | None = None) -> str:
    data = [] if body is None else ["-d", body]
    return subprocess.run(
        [GRPCURL, "-plaintext", "-max-time", "30", *data, f"127.0.0.1:{port}", *words],
        check=True, capture_output=True, text=True, timeout=60,
    ).stdout  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("number", range(6), ids=SERVICES)
def test_grpcurl_lists_every_service(base, number):
    name = SERVICES[number]
    listed = grpcurl(base + number, "list").split()
    assert f"variegate.{name}.v1.{name.capitalize()}Service" in listed
    assert "grpc.health.v1.Health" in listed


CALLS = {
    "gateway": ("ListMethods", "{}", "methods"),
    "prompter": ("ListStrategies", "{}", "strategies"),
    "generator": ("ListModels", "{}", "models"),
    "retriever": ("EmbedTexts", '{"texts": ["a photo of a dog"]}', "embeddings"),
    "trainer": ("ListRecipes", "{}", "strategies"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(CALLS))
def test_grpcurl_calls_every_service(base, name):
    method, body, field = CALLS[name]
    service = f"variegate.{name}.v1.{name.capitalize()}Service"
    port = base + SERVICES.index(name)
    answer = json.loads(grpcurl(port, f"{service}/{method}", body=body))
    assert answer[field]


@pytest.mark.slow
def test_a_missing_image_is_not_found_and_named(base, fails_sync):
    from variegate.captioner.v1 import captioner_pb2, captioner_pb2_grpc

    with grpc.insecure_channel(f"127.0.0.1:{base + 1}") as channel:
        stub = captioner_pb2_grpc.CaptionerServiceStub(channel)
        request = captioner_pb2.CaptionImageRequest(image_uri="store:not/there")
        error = fails_sync(lambda: stub.CaptionImage(request, timeout=20))
    assert error.code is grpc.StatusCode.NOT_FOUND
    assert "not/there" in error.message


@pytest.mark.slow
def test_the_python_call_of_the_documentation_works_as_printed(base):
    text = (ROOT / "docs" / "services.md").read_text()
    [code] = [part.split("```")[0] for part in text.split("```python\n")[1:]]
    assert "127.0.0.1:50053" in code
    printed: list[str] = []
    exec(  # the page's own words
        compile(code.replace("127.0.0.1:50053", f"127.0.0.1:{base + 2}"), "services.md", "exec"),
        {"print": printed.append},
    )
    assert len(printed) == 3
    assert all("fire" in prompt.lower() for prompt in printed)


@pytest.mark.slow
def test_a_port_in_use_is_named_and_nothing_is_left_running(base, variegate, tmp_path: Path):
    finished = variegate("up", "--port-base", str(base), "--state", tmp_path / "other")
    assert finished.code == 3
    assert str(base) in finished.err
    assert "in use" in finished.err
    assert "Traceback" not in finished.err
