"""Traces reach a real OTLP receiver, and one trace goes through several processes."""

import contextvars
import logging
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import grpc
import pytest
from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span
from variegate.captioner.v1 import captioner_pb2 as pb
from variegate.captioner.v1 import captioner_pb2_grpc as rpc

from servicekit.channels import open_channel
from servicekit.collectors import http_endpoint, is_wanted
from servicekit.settings import SettingsError
from servicekit.tracing import is_fault_of_context, trace_headers
from tests.collector import collecting
from tests.servicekit.echo import DESCRIPTOR
from tests.tests_ports import free_port

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CONTEXT = (("traceparent", f"00-{TRACE}-{PARENT}-01"),)
SERVER, CLIENT, ERROR = 2, 3, 2


@pytest.fixture
def receiver():
    with collecting() as found:
        yield found


@contextmanager
def process(tmp_path, **environ):
    """Runs a traced service; yields its address. It ends with SIGTERM, well."""
    port = free_port()
    environ = {
        **os.environ,
        "SERVER_PORT": str(port),
        "SERVER_STORE": f"file://{tmp_path}",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "PYTHONPATH": os.pathsep.join([*sys.path, "tests"]),
        **environ,
    }
    command = [sys.executable, "-m", "tests.servicekit.traced"]
    with (tmp_path / f"{port}.log").open("w") as log:
        started = subprocess.Popen(command, env=environ, stderr=log)
    try:
        yield f"127.0.0.1:{port}"
        started.send_signal(signal.SIGTERM)
        assert started.wait(20) == 0
    finally:
        started.kill()
        started.wait()
    log = (tmp_path / f"{port}.log").read_text()
    assert "Traceback" not in log and "detach context" not in log, log


async def test_one_trace_goes_through_two_services_and_names_them(receiver, tmp_path):
    environ = {"OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=ours"}
    own = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_SERVICE_NAME": "last"}
    with process(tmp_path, **environ, **own) as last:
        given = {"SERVER_TRACE_ENDPOINT": receiver.url, "CAPTIONER_NEXT": last}
        with process(tmp_path, **environ, **given) as first:
            async with open_channel(first, DESCRIPTOR) as channel:
                await channel.channel_ready()
                stub = rpc.CaptionerServiceStub(channel)
                request = pb.CaptionImageRequest(image_uri="store:a")
                await stub.CaptionImage(request, timeout=20, metadata=CONTEXT)
                stream = stub.StreamCaptions(timeout=20, metadata=CONTEXT)
                await stream.write(pb.StreamCaptionsRequest(item_id="one", request=request))
                assert (await stream.read()).item_id == "one"
                stream.cancel()  # A caller that goes away is no fault in any log.
                broken = pb.CaptionImageRequest(image_uri="store:bug")
                with pytest.raises(grpc.aio.AioRpcError):
                    await stub.CaptionImage(broken, timeout=20, metadata=CONTEXT)
    spans = [(service, span) for service, span in receiver.spans if span.trace_id.hex() == TRACE]
    for method, count in (("CaptionImage", 2), ("StreamCaptions", 1)):
        of_method = [(who, one) for who, one in spans if one.name.endswith(method)]
        assert len(of_method) == 3 * count, "server, client, and the next server"
        parents = {one.span_id: (who, one.kind) for who, one in of_method}
        for service, span in of_method:
            parent = parents.get(span.parent_span_id, span.parent_span_id.hex())
            assert (service, span.kind, parent) in [
                ("captioner", SERVER, PARENT),
                ("captioner", CLIENT, ("captioner", SERVER)),
                ("last", SERVER, ("captioner", CLIENT)),
            ]
    assert [one.status.code for who, one in spans if who == "last"].count(ERROR) == 1
    assert not [one for _, one in receiver.spans if "grpc.health" in one.name]
    assert len(receiver.instances) == 2
    assert all(headers["x-tenant"] == "ours" for headers in receiver.headers)


async def test_a_collector_that_is_away_hinders_neither_calls_nor_the_end(tmp_path):
    nowhere = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}"}
    patient = {"OTEL_EXPORTER_OTLP_TIMEOUT": "60"}
    with process(tmp_path, **nowhere, **patient) as target:
        async with open_channel(target, DESCRIPTOR) as channel:
            await channel.channel_ready()
            stub = rpc.CaptionerServiceStub(channel)
            await stub.CaptionImage(pb.CaptionImageRequest(image_uri="store:a"), timeout=20)
        began = time.monotonic()
    assert time.monotonic() - began < 15


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4317"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_traces_are_off_until_the_standard_variables_want_them(environ, wanted):
    assert is_wanted("", environ) == wanted


def test_a_protocol_that_is_not_spoken_is_named():
    environ = {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
    with pytest.raises(SettingsError, match="OTEL_EXPORTER_OTLP_PROTOCOL is 'http/protobuf'"):
        is_wanted("http://collector:4318", environ)


@pytest.mark.parametrize(
    ("endpoint", "environ", "found"),
    [
        ("http://collector:4317", {}, "http://collector:4318/v1/traces"),
        ("https://[::1]:4317", {}, "https://[::1]:4318/v1/traces"),
        ("", {"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317"}, "http://collector:4318/v1/traces"),
        ("", {}, ""),
        ("http://collector:4317", {"OTEL_SDK_DISABLED": "true"}, ""),
    ],
)
def test_programs_that_speak_http_are_told_the_same_collector(endpoint, environ, found):
    assert http_endpoint(endpoint, environ) == found


@pytest.mark.parametrize("sampled", [True, False])
def test_what_is_not_sampled_is_not_continued_elsewhere(sampled):
    flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
    context = SpanContext(int(TRACE, 16), int(PARENT, 16), is_remote=True, trace_flags=flags)
    with use_span(NonRecordingSpan(context)):
        assert trace_headers() == (dict(CONTEXT) if sampled else {})
    assert trace_headers() == {}


def test_the_stream_of_a_caller_that_went_away_is_no_fault_of_the_context(caplog):
    """Under load it is closed by the loop, in another context than it was opened in."""
    logger = logging.getLogger("opentelemetry.context")
    elsewhere = contextvars.copy_context().run(attach, Context())
    logger.addFilter(is_fault_of_context)
    try:
        detach(elsewhere)
        assert not caplog.records
        detach("no token")
        assert [record.message for record in caplog.records] == ["Failed to detach context"]
    finally:
        logger.removeFilter(is_fault_of_context)
