"""The one server interceptor: readiness, deadline, validation, errors, log and metrics.

It rebuilds the handler of all four call kinds, so that a handler only thinks and raises.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.protobuf.message import Message
from grpc_status import rpc_status

from servicekit.errors import InvalidArgument, ServiceError, Unavailable, to_status
from servicekit.telemetry import Metrics
from servicekit.validation import validate

_INFRASTRUCTURE = ("/grpc.health.", "/grpc.reflection.")
_log = logging.getLogger(__name__)

Handler = Any
Call = Callable[[Any, grpc.aio.ServicerContext], Any]


class GuardInterceptor(grpc.aio.ServerInterceptor):
    """Guards every call of one service. `is_ready` says whether its model is loaded."""

    def __init__(self, service: str, metrics: Metrics, is_ready: Callable[[], bool]) -> None:
        self._service = service
        self._metrics = metrics
        self._is_ready = is_ready

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method.startswith(_INFRASTRUCTURE):
            return handler
        return self._guard(handler, method)

    def _guard(self, handler: Handler, method: str) -> Handler:
        coders = {
            "request_deserializer": handler.request_deserializer,
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
            async with self._observed(method, context):
                self._admit(method, context, needs_deadline=True)
                return await call(_validated(request, requests_stream), context)

        return guarded

    def _stream(self, call: Call, method: str, *, requests_stream: bool) -> Call:
        async def guarded(request: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
            async with self._observed(method, context):
                self._admit(method, context, needs_deadline=False)
                async for response in call(_validated(request, requests_stream), context):
                    yield response

        return guarded

    def _admit(
        self, method: str, context: grpc.aio.ServicerContext, *, needs_deadline: bool
    ) -> None:
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

    @asynccontextmanager
    async def _observed(
        self, method: str, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[None]:
        started = time.monotonic()
        self._metrics.in_flight.inc()
        code = grpc.StatusCode.OK
        try:
            yield
        except ServiceError as error:
            code = error.code
            await self._abort(context, error)
        except (asyncio.CancelledError, GeneratorExit):
            code = grpc.StatusCode.CANCELLED
            raise
        except Exception as error:
            code = grpc.StatusCode.INTERNAL
            _log.exception("%s failed", method)
            await self._abort(context, error)
        finally:
            self._record(method, code, time.monotonic() - started)

    async def _abort(self, context: grpc.aio.ServicerContext, error: Exception) -> None:
        await context.abort_with_status(rpc_status.to_status(to_status(error, self._service)))

    def _record(self, method: str, code: grpc.StatusCode, seconds: float) -> None:
        self._metrics.in_flight.dec()
        self._metrics.calls.labels(method, code.name).inc()
        self._metrics.seconds.labels(method).observe(seconds)
        fields = {"method": method, "code": code.name, "seconds": round(seconds, 4)}
        _log.debug("call", extra={"fields": fields})


def _validated(request: Any, requests_stream: bool) -> Any:
    if requests_stream:
        return _validated_stream(request)
    validate(request)
    return request


async def _validated_stream(requests: AsyncIterator[Message]) -> AsyncIterator[Message]:
    async for request in requests:
        validate(request)
        yield request
