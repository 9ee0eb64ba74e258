"""Against a small HTTP server that speaks the OpenAI protocol as vLLM does."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from prompter.llm import Task
from prompter.llms import find_language_model
from servicekit.errors import Unavailable


@pytest.fixture
def server():
    bodies = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            bodies.append((self.path, body))
            text = json.dumps({"caption": f"a photo of a dog, draw {body['seed']}"})
            text = text if body["seed"] else "not JSON"
            answer = json.dumps({"choices": [{"message": {"content": text}}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *arguments):
            """Keeps quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}/v1", bodies
        http.shutdown()


def test_each_text_is_asked_for_with_its_own_seed_and_a_schema(server):
    url, bodies = server
    source = find_language_model(f"{url}#small-model")
    assert source.problem is None
    model = source.open()
    tasks = [Task(f"Describe scene {i}.", "a photo of a dog", seed=i) for i in range(1, 6)]
    assert model.complete(tasks) == [f"a photo of a dog, draw {i}" for i in range(1, 6)]
    path, body = bodies[0]
    assert path == "/v1/chat/completions"
    assert (model.id, body["model"]) == ("small-model", "small-model")
    assert body["response_format"]["type"] == "json_schema"


def test_an_answer_that_is_no_json_is_an_empty_text(server):
    model = find_language_model(f"{server[0]}#small-model").open()
    assert model.complete([Task("Describe.", "a photo of a dog", seed=0)]) == [""]


def test_a_server_that_is_down_is_named():
    model = find_language_model("http://127.0.0.1:9/v1#m").open()
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9"):
        model.complete([Task("Describe.", "a photo of a dog", seed=1)])


def test_a_url_without_a_model_says_how_to_write_it():
    problem = find_language_model("http://somewhere/v1").problem
    assert problem is not None and "http://somewhere/v1#MODEL" in problem
