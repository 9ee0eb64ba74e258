"""The one server interceptor: admission, readiness, deadline, validation, errors, log, metrics.

It rebuilds the handler of all four call kinds, so that a handler only thinks and raises.
"""

import asyncio
import inspect
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message
from grpc_status import rpc_status

from servicekit.errors import Internal, InvalidArgument, ServiceError, Unavailable, Unimplemented
from servicekit.gate import HEALTH, REFLECTION, Admission, admit_all
from servicekit.limits import STREAMED_REQUESTS
from servicekit.statuses import to_status
from servicekit.telemetry import Metrics
from servicekit.tracing import mark_call
from servicekit.validation import validate

# Of every server, also of one that is loading, and asked by tools that set no deadline.
_INFRASTRUCTURE = (HEALTH, REFLECTION)
# How long a call that failed still reads what its caller sends.
_DRAIN_SECONDS = 1.0
_log = logging.getLogger(__name__)

Handler = Any
Call = Callable[[Any, grpc.aio.ServicerContext], Any]


class GuardInterceptor(grpc.aio.ServerInterceptor):
    """Guards every call of one service. `is_ready` says whether its model is loaded, and
    `most_streamed` how many requests one call may send."""

    def __init__(
        self,
        service: str,
        metrics: Metrics,
        is_ready: Callable[[], bool],
        admission: Admission = admit_all,
        most_streamed: int = STREAMED_REQUESTS,
    ) -> None:
        self._service = service
        self._metrics = metrics
        self._is_ready = is_ready
        self._admission = admission
        self._most_streamed = most_streamed

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        handler = await continuation(handler_call_details)
        return None if handler is None else self._guard(handler, handler_call_details.method)

    def _guard(self, handler: Handler, method: str) -> Handler:
        coders = {
            "request_deserializer": _tolerant(handler.request_deserializer),
            "response_serializer": handler.response_serializer,
        }
        if handler.unary_unary:
            guarded = self._unary(handler.unary_unary, method, requests_stream=False)
            return grpc.unary_unary_rpc_method_handler(guarded, **coders)
        if handler.stream_unary:
            guarded = self._unary(handler.stream_unary, method, requests_stream=True)
            return grpc.stream_unary_rpc_method_handler(guarded, **coders)
        if handler.unary_stream:
            guarded = self._stream(handler.unary_stream, method, requests_stream=False)
            return grpc.unary_stream_rpc_method_handler(guarded, **coders)
        guarded = self._stream(handler.stream_stream, method, requests_stream=True)
        return grpc.stream_stream_rpc_method_handler(guarded, **coders)

    def _unary(self, call: Call, method: str, *, requests_stream: bool) -> Call:
        async def guarded(request: Any, context: grpc.aio.ServicerContext) -> Any:
            requests = request if requests_stream else None
            async with self._observed(method, context, requests), self._admission(method, context):
                self._check_start(method, context, needs_deadline=True)
                return await call(self._validated(request, requests_stream), context)

        return guarded

    def _stream(self, call: Call, method: str, *, requests_stream: bool) -> Call:
        async def guarded(request: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
            requests = request if requests_stream else None
            async with self._observed(method, context, requests), self._admission(method, context):
                self._check_start(method, context, needs_deadline=False)
                answers = call(self._validated(request, requests_stream), context)
                if inspect.isawaitable(answers):  # A handler that writes into the context.
                    await answers
                    return
                async for response in answers:
                    yield response

        return guarded

    def _check_start(
        self, method: str, context: grpc.aio.ServicerContext, *, needs_deadline: bool
    ) -> None:
        if method.startswith(_INFRASTRUCTURE):
            return
        if not self._is_ready():
            raise Unavailable(
                f"the {self._service} is still loading; try again shortly",
                reason="MODEL_LOADING",
                retry_after=2.0,
            )
        if needs_deadline and context.time_remaining() is None:
            raise InvalidArgument(
                f"{method} needs a deadline; set a timeout on the call",
                field="deadline",
                reason="DEADLINE_REQUIRED",
            )

    def _validated(self, request: Any, requests_stream: bool) -> Any:
        return self._validated_stream(request) if requests_stream else _checked(request)

    async def _validated_stream(self, requests: AsyncIterator[Any]) -> AsyncIterator[Message]:
        left = self._most_streamed
        async for request in requests:
            if not left:
                raise InvalidArgument(
                    f"the call has sent more than {self._most_streamed} requests, the most that "
                    "one may (SERVER_MAX_STREAMED_REQUESTS); send the rest in a further call",
                    field="requests",
                    reason="STREAM_TOO_LONG",
                )
            left -= 1
            yield _checked(request)

    @asynccontextmanager
    async def _observed(
        self, method: str, context: grpc.aio.ServicerContext, requests: AsyncIterator[Any] | None
    ) -> AsyncIterator[None]:
        started = time.monotonic()
        # Watchers of the health would be calls that never end.
        is_work = not method.startswith(_INFRASTRUCTURE)
        self._metrics.in_flight.inc(is_work)
        code = grpc.StatusCode.OK
        try:
            yield
        except (asyncio.CancelledError, GeneratorExit):
            code = grpc.StatusCode.CANCELLED
            raise
        except grpc.aio.AbortError:  # Ended already: so do the infrastructure's own servicers.
            code = _code_of(context)
            raise
        except Exception as error:
            failure = _as_service_error(error, method)
            code = failure.code
            self._metrics.failures.labels(failure.reason).inc()
            if requests is not None:
                await _drain(requests)
            status = to_status(failure, self._service)
            await context.abort_with_status(rpc_status.to_status(status))
        finally:
            self._metrics.in_flight.dec(is_work)
            self._record(method, code, time.monotonic() - started)

    def _record(self, method: str, code: grpc.StatusCode, seconds: float) -> None:
        self._metrics.calls.labels(method, code.name).inc()
        self._metrics.seconds.labels(method).observe(seconds)
        mark_call(code)
        fields = {"method": method, "code": code.name, "seconds": round(seconds, 4)}
        _log.debug("call", extra={"fields": fields})


@dataclass(frozen=True)
class _Undecodable:
    """Stands for a request that is no message of its type."""

    kind: str


def _tolerant(decode: Callable[[bytes], Message]) -> Callable[[bytes], Message | _Undecodable]:
    """gRPC itself would answer UNKNOWN with the text of the exception."""

    def tolerant(data: bytes) -> Message | _Undecodable:
        try:
            return decode(data)
        except DecodeError as error:
            return _Undecodable(str(error))

    return tolerant


def _checked(request: Message | _Undecodable) -> Message:
    if isinstance(request, _Undecodable):
        raise InvalidArgument(
            f"the request cannot be decoded: {request.kind}; send it as its proto has it",
            field="request",
            reason="UNDECODABLE",
        )
    validate(request)
    return request


async def _drain(requests: AsyncIterator[Any]) -> None:
    """Reads what the caller of a failed call still sends, for a while.

    A client of gRPC for Python whose write meets the end of its call reports INTERNAL, "Internal
    error from Core", and the status that we send is lost.
    """
    with suppress(Exception):
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for _ in requests:
                pass


def _as_service_error(error: Exception, method: str) -> ServiceError:
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, NotImplementedError):
        return Unimplemented(f"{method} is not served")
    _log.error("%s failed", method, exc_info=error)
    return Internal("internal error; the server's log has the trace")


def _code_of(context: grpc.aio.ServicerContext) -> grpc.StatusCode:
    number = context.code()
    return next((c for c in grpc.StatusCode if c.value[0] == number), grpc.StatusCode.UNKNOWN)
