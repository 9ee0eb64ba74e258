"""Triton's own spans are parts of the trace that an image was asked for in."""

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from generator.backends import start_triton
from generator.engine.items import Item
from generator.triton.launcher import LocalTriton, trace_options
from servicekit.storage import MemoryStore

pytestmark = [pytest.mark.servers, pytest.mark.alone]
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SECONDS = 30


class Collector(ThreadingHTTPServer):
    """What takes OTLP over HTTP, which is what Triton speaks."""

    def __init__(self):
        self.spans, self.came = [], threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/v1/traces"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            data = gzip.decompress(data)
        for resource in ExportTraceServiceRequest.FromString(data).resource_spans:
            names = {one.key: one.value.string_value for one in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.server.spans += [(names["service.name"], span) for span in scope.spans]
        self.send_response(200)
        self.end_headers()
        if any(span.trace_id.hex() == TRACE for _, span in self.server.spans):
            self.server.came.set()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def collector():
    server = Collector()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_inference_is_a_part_of_the_callers_trace(
    collector, nano_settings, tmp_path, monkeypatch
):
    # The context of a call, as the server's instrumentation has it while a call is served.
    monkeypatch.setattr(
        "generator.triton.backend.trace_headers",
        lambda: {"traceparent": f"00-{TRACE}-{PARENT}-01"},
    )
    options = trace_options(collector.url)
    with LocalTriton(tmp_path, nano_settings, "memory:", options=options) as triton:
        backend = start_triton(triton.settings, MemoryStore())
        try:
            assert backend.is_healthy()
            [future] = backend.submit_all([Item("text", 1, 2, 3.0, "a photo of a dog")])
            assert future.result(SECONDS).pixels.any()
            assert collector.came.wait(SECONDS)
        finally:
            backend.close()
    spans = [(who, one) for who, one in collector.spans if one.trace_id.hex() == TRACE]
    [root] = [one for _, one in spans if one.parent_span_id.hex() == PARENT]
    assert {who for who, _ in spans} == {"triton"} and root.name == "InferRequest"
    assert any(one.parent_span_id == root.span_id for _, one in spans)
