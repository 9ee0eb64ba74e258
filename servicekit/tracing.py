"""Traces of gRPC calls, sent by OpenTelemetry's own exporter (OTLP over gRPC).

Off unless an endpoint is set. The variables are OpenTelemetry's standard ones, as
OTEL_EXPORTER_OTLP_ENDPOINT, _HEADERS and _CERTIFICATE, OTEL_TRACES_SAMPLER and
OTEL_RESOURCE_ATTRIBUTES; its packages read most of them by themselves. The context of a trace
travels in the metadata of calls, as W3C's traceparent.
"""

import atexit
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

import grpc
from opentelemetry import propagate, trace

from servicekit.collectors import is_wanted

# Those that are a server's fault, by OpenTelemetry's conventions for gRPC.
_FAULTS = {
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DATA_LOSS,
}
# Enough for a collector that is there.
_LAST_SECONDS = 1.5
_TRACER = trace.get_tracer("variegate")


def trace_calls(service: str, endpoint: str, environ: Mapping[str, str]) -> None:
    """Traces all gRPC calls of this process if anything wants them; before servers and channels.

    `endpoint` goes before the variables of OpenTelemetry, which may name the service, too.
    """
    if not is_wanted(endpoint, environ):
        return
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.grpc import (
        GrpcAioInstrumentorClient,
        GrpcAioInstrumentorServer,
        filters,
    )
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    # Which of its replicas it is: in a pod the machine's name is the pod's.
    instance = f"{socket.gethostname()}-{os.getpid()}"
    names = {"service.namespace": "variegate", "service.instance.id": instance}
    if not environ.get("OTEL_SERVICE_NAME"):
        names["service.name"] = service
    provider = TracerProvider(resource=Resource.create(names), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=endpoint or None)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    _end_in_time(provider.shutdown, exporter.shutdown)
    # Probes ask every few seconds.
    others = filters.negate(filters.health_check())
    GrpcAioInstrumentorServer(filter_=others).instrument()
    GrpcAioInstrumentorClient(filter_=others).instrument()
    logging.getLogger("opentelemetry.context").addFilter(is_fault_of_context)


def is_fault_of_context(record: logging.LogRecord) -> bool:
    """Says whether a record of OpenTelemetry's context tells of a fault; a filter for its logger.

    The loop closes the stream of a caller that went away in a context of its own, where there is
    nothing to restore; the span has its end all the same.
    """
    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, ValueError) and "in a different Context" in str(error))


def _end_in_time(send_rest: Callable[[], None], give_up: Callable[[], None]) -> None:
    """Lets the end of the process send what is left, and give up if it is not accepted.

    The exporter itself would try for half a minute, longer than a pod is given.
    """
    ending = threading.Event()

    def watch() -> None:
        ending.wait()
        time.sleep(_LAST_SECONDS)
        give_up()

    def end() -> None:
        ending.set()
        send_rest()

    threading.Thread(target=watch, name="end of traces", daemon=True).start()
    atexit.register(end)


def trace_headers() -> dict[str, str]:
    """Returns what continues the current trace in another process, W3C's traceparent; nothing where
    there is no trace, or one that the sampler leaves out: Triton would send its part of it.
    For calls that OpenTelemetry does not make itself."""
    headers: dict[str, str] = {}
    if trace.get_current_span().get_span_context().trace_flags.sampled:
        propagate.inject(headers)
    return headers


def span(name: str, **attributes: str | int) -> AbstractContextManager[object]:
    """Makes what happens in the block a part of the current trace, or a trace of its own; does
    nothing where calls are not traced."""
    return _TRACER.start_as_current_span(name, attributes=attributes)


def mark_call(code: grpc.StatusCode) -> None:
    """Tells the span of the current call, if there is one, how the call ended."""
    span = trace.get_current_span()
    if span.is_recording():
        span.set_attribute("rpc.grpc.status_code", code.value[0])
        if code in _FAULTS:
            span.set_status(trace.Status(trace.StatusCode.ERROR, code.name))
