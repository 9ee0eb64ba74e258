"""Errors to and from google.rpc.Status, as they travel."""

import re
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from servicekit.errors import (
    AlreadyExists,
    Cancelled,
    DeadlineExceeded,
    Exhausted,
    Internal,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Precondition,
    ServiceError,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)

DOMAIN = "variegate"

# What an error names besides its message, by class.
_NAMED: dict[type[Any], str] = {
    InvalidArgument: "field",
    NotFound: "resource",
    AlreadyExists: "resource",
    Precondition: "subject",
}
_RETRYABLE: tuple[type[Any], ...] = (Exhausted, Unavailable)
_PLAIN: tuple[type[Any], ...] = (
    Unauthenticated,
    PermissionDenied,
    DeadlineExceeded,
    Cancelled,
    Unimplemented,
    Internal,
)
_KINDS: dict[grpc.StatusCode, type[Any]] = {
    kind.code: kind for kind in (*_NAMED, *_RETRYABLE, *_PLAIN)
}

# What gRPC says of a message, and of metadata, beyond the limits of a server or client.
_MESSAGE_TOO_LARGE = re.compile(r"(CLIENT|SERVER): .*larger than max \((\d+) vs\. (\d+)\)")
_METADATA_TOO_LARGE = "received metadata size exceeds"
# What gRPC for Python makes of a write that meets the end of its call, whatever ended it.
_LOST_WRITE = (grpc.StatusCode.INTERNAL, "Internal error from Core")
# What a server of gRPC for Python makes of a call that reaches it as it begins to drain.
_DRAINED = (grpc.StatusCode.CANCELLED, "CANCELLED")


def to_status(error: BaseException, service: str) -> status_pb2.Status:
    """Returns the google.rpc.Status of an error raised in `service`.

    Anything but a ServiceError becomes INTERNAL with a text that gives nothing away.
    """
    if not isinstance(error, ServiceError):
        error = Internal("internal error; the server's log has the trace")
    info = error_details_pb2.ErrorInfo(
        reason=error.reason, domain=f"{service}.{DOMAIN}", metadata=error.metadata
    )
    status = status_pb2.Status(code=error.code.value[0], message=error.message)
    for detail in [info, *error.details()]:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def from_status(status: status_pb2.Status) -> ServiceError:
    """Returns the ServiceError that a google.rpc.Status was made of."""
    info, retry_after = error_details_pb2.ErrorInfo(), 1.0
    for detail in status.details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            detail.Unpack(info)
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry = error_details_pb2.RetryInfo()
            detail.Unpack(retry)
            retry_after = retry.retry_delay.ToTimedelta().total_seconds()
    return _rebuild(_code_of(status.code), status.message, info, retry_after)


def from_rpc_error(error: grpc.RpcError) -> ServiceError:
    """Returns the ServiceError behind a failed call, also if the transport itself failed."""
    status = rpc_status.from_call(error)
    if status is not None:
        return from_status(status)
    details = error.details() or "the call failed"
    if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and (found := _too_large(details)):
        return found
    if (error.code(), details) == _LOST_WRITE:
        return Unavailable("the call ended while its requests were being sent", reason="CALL_LOST")
    if (error.code(), details) == _DRAINED:
        return Unavailable("the call reached a server that was ending", reason="CALL_LOST")
    return _rebuild(error.code(), details, error_details_pb2.ErrorInfo(), 1.0)


def _too_large(details: str) -> ServiceError | None:
    """gRPC's own refusals look like those of a full queue, and would be tried again for ever."""
    if found := _MESSAGE_TOO_LARGE.search(details):
        side, size, most = found.groups()
        if side == "CLIENT":
            return Internal(f"the answer has {size} bytes, and a client takes {most} at most")
        return InvalidArgument(
            f"the request has {size} bytes, and the server takes {most} at most "
            "(SERVER_MAX_MESSAGE_BYTES); ask for less at a time",
            field="request",
            reason="REQUEST_TOO_LARGE",
        )
    if _METADATA_TOO_LARGE in details:
        return InvalidArgument(
            "the call has more metadata than the server takes (SERVER_MAX_METADATA_BYTES): "
            f"{details}",
            field="metadata",
            reason="METADATA_TOO_LARGE",
        )
    return None


def _code_of(number: int) -> grpc.StatusCode:
    return next((c for c in grpc.StatusCode if c.value[0] == number), grpc.StatusCode.UNKNOWN)


def _rebuild(
    code: grpc.StatusCode,
    message: str,
    info: error_details_pb2.ErrorInfo,
    retry_after: float,
) -> ServiceError:
    kind, metadata = _KINDS.get(code, Internal), dict(info.metadata)
    extra: dict[str, object] = {}
    if name := _NAMED.get(kind):
        extra[name] = metadata.pop(name, "")
    elif kind in _RETRYABLE:
        extra["retry_after"] = retry_after
    error: ServiceError = kind(message, reason=info.reason or None, metadata=metadata, **extra)
    return error
