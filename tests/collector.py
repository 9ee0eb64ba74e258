"""A collector of traces, as OpenTelemetry's: OTLP over gRPC, and over HTTP as JSON."""

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import grpc
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as collected
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as service


class Collector(service.TraceServiceServicer):
    """Keeps (name of the service, span). `url` is its place for gRPC, `http_url` for HTTP."""

    def __init__(self):
        self.spans, self.headers, self.instances = [], [], set()
        self.url = self.http_url = ""

    def Export(self, request, context):
        self.headers += [dict(context.invocation_metadata())]
        self._keep(request)
        return collected.ExportTraceServiceResponse()

    def take_json(self, text: bytes) -> None:
        request = collected.ExportTraceServiceRequest()
        content = json.loads(text, object_hook=_with_base64)
        self._keep(json_format.ParseDict(content, request, ignore_unknown_fields=True))

    def _keep(self, request) -> None:
        for resource in request.resource_spans:
            facts = {one.key: one.value.string_value for one in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans += [(facts["service.name"], span) for span in scope.spans]
            self.instances.add(facts.get("service.instance.id", ""))


def _with_base64(fields: dict) -> dict:
    """OTLP's JSON has ids in hexadecimal, where JSON of messages has base64."""
    ids = {key: fields[key] for key in ("traceId", "spanId", "parentSpanId") if key in fields}
    return fields | {k: base64.b64encode(bytes.fromhex(v)).decode() for k, v in ids.items()}


@contextmanager
def collecting() -> Iterator[Collector]:
    """Collects what is sent while the block runs."""
    found = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            found.take_json(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    server, web = (
        grpc.server(ThreadPoolExecutor(2)),
        ThreadingHTTPServer(("127.0.0.1", 0), Handler),
    )
    service.add_TraceServiceServicer_to_server(found, server)
    found.url = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    found.http_url = f"http://127.0.0.1:{web.server_port}/v1/traces"
    server.start()
    Thread(target=web.serve_forever, daemon=True).start()
    yield found
    server.stop(None).wait()
    web.shutdown()
    web.server_close()
