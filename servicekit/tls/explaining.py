"""Calls whose connection fails say why."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
from grpc_status import rpc_status

from servicekit.errors import Unavailable
from servicekit.statuses import to_status
from servicekit.tls.certificates import Certificates
from servicekit.tls.diagnosis import Peer, diagnose

Continuation = Callable[[grpc.aio.ClientCallDetails, Any], Any]

REASON = "TLS_FAILED"


class Explanations:
    """Explains the failed connections of a channel; at once to all calls that fail together."""

    def __init__(self, peer: Peer, certificates: Certificates | None) -> None:
        self._peer, self._certificates = peer, certificates
        self._asking: asyncio.Task[str] | None = None

    async def explain(self, error: grpc.aio.AioRpcError) -> None:
        """Raises an error that says what is wrong with TLS, if that is what failed.

        Other errors stay with their call: OpenTelemetry's interceptor never ends the span of a call
        that an interceptor raises the error of.
        """
        if error.code() is not grpc.StatusCode.UNAVAILABLE or rpc_status.from_call(error):
            return
        if self._asking is None or self._asking.done():
            asked = asyncio.to_thread(diagnose, self._peer, self._certificates)
            self._asking = asyncio.create_task(asked, name=f"diagnose {self._peer}")
        text = await asyncio.shield(self._asking)
        if text:
            raise _error(text) from error

    def interceptors(self) -> list[grpc.aio.ClientInterceptor]:
        """Returns what explains calls that send one request for one answer and, with TLS, those
        with streams.

        Without TLS the first suffices: the gateway asks what a service offers before its streams.
        """
        one: list[grpc.aio.ClientInterceptor] = [_OneAnswer(self)]
        return one if self._certificates is None else [*one, *(kind(self) for kind in _STREAMS)]

    async def begun(self, call: Any) -> Any:
        """Returns a call that has a connection. Raises as `explain` does."""
        try:
            await call.wait_for_connection()
        except grpc.aio.AioRpcError as error:
            await self.explain(error)
        return call


class _OneAnswer(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, explanations: Explanations) -> None:
        self._explanations = explanations

    async def intercept_unary_unary(
        self, continuation: Continuation, details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        call = await continuation(details, request)
        try:
            await call
        except grpc.aio.AioRpcError as error:
            await self._explanations.explain(error)
        return call


class _UnaryStream(grpc.aio.UnaryStreamClientInterceptor):
    def __init__(self, explanations: Explanations) -> None:
        self._explanations = explanations

    async def intercept_unary_stream(
        self, continuation: Continuation, details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        return await self._explanations.begun(await continuation(details, request))


class _StreamUnary(grpc.aio.StreamUnaryClientInterceptor):
    def __init__(self, explanations: Explanations) -> None:
        self._explanations = explanations

    async def intercept_stream_unary(
        self, continuation: Continuation, details: grpc.aio.ClientCallDetails, requests: Any
    ) -> Any:
        return await self._explanations.begun(await continuation(details, requests))


class _StreamStream(grpc.aio.StreamStreamClientInterceptor):
    def __init__(self, explanations: Explanations) -> None:
        self._explanations = explanations

    async def intercept_stream_stream(
        self, continuation: Continuation, details: grpc.aio.ClientCallDetails, requests: Any
    ) -> Any:
        return await self._explanations.begun(await continuation(details, requests))


_STREAMS = (_UnaryStream, _StreamUnary, _StreamStream)


def _error(text: str) -> grpc.aio.AioRpcError:
    """The error as a server would send it, so that everyone reads it as any other."""
    status = rpc_status.to_status(to_status(Unavailable(text, reason=REASON), "client"))
    return grpc.aio.AioRpcError(
        status.code,
        grpc.aio.Metadata(),
        grpc.aio.Metadata(*status.trailing_metadata),
        details=status.details,
    )
