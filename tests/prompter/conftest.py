"""A prompter server, a real vLLM, and language models for tests of one part alone."""

import contextlib
import json
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from variegate.prompter.v1 import prompter_pb2 as pb
from variegate.prompter.v1 import prompter_pb2_grpc as rpc

from prompter.llm import Reply
from prompter.llms import packaged
from prompter.settings import PrompterSettings
from prompter.vllm.launcher import LocalVllm
from prompter.wiring import create_service
from prompter.wordnet import WordNet
from servicekit.channels import open_channel
from servicekit.server import running
from servicekit.storage import MemoryStore


@pytest.fixture(scope="session")
def wordnet():
    return WordNet()


@pytest.fixture
def open_stub():
    """Returns a context manager: a stub of a server with the given settings."""
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def opened(**settings):
        service = create_service(PrompterSettings(**settings), MemoryStore())
        descriptor = pb.DESCRIPTOR.services_by_name["PrompterService"]
        async with (
            running(service) as server,
            open_channel(server.target, descriptor) as channel,
        ):
            yield rpc.PrompterServiceStub(channel)

    return opened


@pytest.fixture
async def stub(open_stub):
    async with open_stub() as stub:
        yield stub


@dataclass
class ScriptedModel:
    """Answers with what `script` returns for a task, a text or a Reply, and remembers the tasks."""

    script: object
    id: str = "scripted@0"
    chunk: int = 20
    whole_chunks: bool = False
    lists: bool = False
    tasks: list = field(default_factory=list)

    async def complete(self, tasks, deadline):
        self.tasks.extend(tasks)
        said = [self.script(task) for task in tasks]
        return [one if isinstance(one, Reply) else Reply((one,), one) for one in said]

    async def close(self):
        """Holds nothing."""


@pytest.fixture
def scripted():
    return ScriptedModel


@pytest.fixture(scope="session")
def vllm(tmp_path_factory):
    """A real vLLM that serves SmolLM2, one for the whole run."""
    log = tmp_path_factory.mktemp("vllm") / "vllm.log"
    with LocalVllm(packaged.export()[0], packaged.NAME, log) as server:
        yield server


@dataclass
class HttpModel:
    """An HTTP server in vLLM's place: `answer(body)` returns status and bytes, or is those."""

    url: str
    bodies: list


@pytest.fixture
def http_model():
    """Returns a context manager: a server that answers every request with `answer`."""

    @contextmanager
    def serving(answer, pause=0.0, port=0):
        bodies = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                bodies.append(body)
                time.sleep(pause)
                status, content = answer(body) if callable(answer) else answer
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                with contextlib.suppress(ConnectionError):  # the client may have given up
                    self.wfile.write(content)

            def log_message(self, *arguments):
                """Keeps quiet."""

        class Server(ThreadingHTTPServer):
            daemon_threads, request_queue_size = True, 64

        with Server(("127.0.0.1", port), Handler) as http:
            threading.Thread(target=http.serve_forever, daemon=True).start()
            yield HttpModel(f"http://127.0.0.1:{http.server_port}/v1", bodies)
            http.shutdown()

    return serving


def completion(content):
    """Returns status and body of a chat completion."""
    message = {"role": "assistant", "content": content}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    document = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
    return 200, json.dumps({**document, "choices": [choice]}).encode()
