"""The errors that handlers raise, and their translation to and from google.rpc.Status.

ServiceError
├── InvalidArgument     the request can never work; carries the field
├── NotFound            a named thing does not exist
├── AlreadyExists       a named thing exists and is different
├── Precondition        the system's state forbids it now
├── Exhausted           a queue or memory is full; carries when to try again
├── Unavailable         a part is down or loading; carries when to try again
├── DeadlineExceeded    the caller's time ran out
├── Cancelled           the caller gave up
├── Unimplemented       the method is not served
└── Internal            our fault
"""

from collections.abc import Mapping
from datetime import timedelta

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from servicekit.texts import encoded_length, shortened

DOMAIN = "variegate"

# A status travels twice in the headers at a call's end, once percent-encoded and once in base64;
# clients refuse headers of more than 8 KiB, with a code that means "try again". So texts are cut,
# and a status has at most 4 KiB.
_LONGEST_MESSAGE, _LONGEST_VALUE, _MOST_METADATA = 1200, 240, 960


def _bounded(metadata: Mapping[str, str]) -> dict[str, str]:
    """Returns the first entries that fit, their values cut."""
    kept: dict[str, str] = {}
    room = _MOST_METADATA
    for key, value in metadata.items():
        value = shortened(value, _LONGEST_VALUE)
        room -= encoded_length(key) + encoded_length(value)
        if room >= 0:
            kept[key] = value
    return kept


class ServiceError(Exception):
    """An error with a code, a machine-readable reason and a sentence for people.

    Texts are cut where they are too long to travel, so callers may quote whatever they were given.
    """

    code = grpc.StatusCode.INTERNAL
    # Of a process that ends with this error.
    exit_code = 1
    default_reason = "INTERNAL"

    def __init__(
        self, message: str, *, reason: str | None = None, metadata: Mapping[str, str] | None = None
    ) -> None:
        self.message = shortened(message, _LONGEST_MESSAGE)
        super().__init__(self.message)
        self.reason = reason or self.default_reason
        self.metadata = _bounded(metadata or {})

    def details(self) -> list[Message]:
        """Returns the google.rpc details besides ErrorInfo."""
        return []


class InvalidArgument(ServiceError):
    """The request can never work. `field` is the path of the field at fault."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    exit_code = 2
    default_reason = "FIELD_INVALID"

    def __init__(
        self,
        message: str,
        *,
        field: str,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, reason=reason, metadata={"field": field, **(metadata or {})})
        self.field = self.metadata["field"]

    def details(self) -> list[Message]:
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=self.field, description=self.message
        )
        return [error_details_pb2.BadRequest(field_violations=[violation])]


class _ResourceError(ServiceError):
    exit_code = 3

    def __init__(
        self,
        message: str,
        *,
        resource: str,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(
            message, reason=reason, metadata={"resource": resource, **(metadata or {})}
        )
        self.resource = self.metadata["resource"]

    def details(self) -> list[Message]:
        return [
            error_details_pb2.ResourceInfo(resource_name=self.resource, description=self.message)
        ]


class NotFound(_ResourceError):
    """A named thing does not exist."""

    code = grpc.StatusCode.NOT_FOUND
    default_reason = "NOT_FOUND"


class AlreadyExists(_ResourceError):
    """A named thing exists and is not what was asked for."""

    code = grpc.StatusCode.ALREADY_EXISTS
    default_reason = "ALREADY_EXISTS"


class Precondition(ServiceError):
    """The system's state forbids it now; do something about `subject`, then try again."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    exit_code = 3
    default_reason = "PRECONDITION"

    def __init__(
        self,
        message: str,
        *,
        subject: str,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, reason=reason, metadata={"subject": subject, **(metadata or {})})
        self.subject = self.metadata["subject"]

    def details(self) -> list[Message]:
        violation = error_details_pb2.PreconditionFailure.Violation(
            type=self.reason, subject=self.subject, description=self.message
        )
        return [error_details_pb2.PreconditionFailure(violations=[violation])]


class _RetryableError(ServiceError):
    exit_code = 4

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        retry_after: float = 1.0,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata)
        self.retry_after = retry_after

    def details(self) -> list[Message]:
        info = error_details_pb2.RetryInfo()
        info.retry_delay.FromTimedelta(timedelta(seconds=self.retry_after))
        return [info]


class Exhausted(_RetryableError):
    """A queue or a memory is full; try again after `retry_after` seconds."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    default_reason = "QUEUE_FULL"


class Unavailable(_RetryableError):
    """A part is down or loading; try again after `retry_after` seconds."""

    code = grpc.StatusCode.UNAVAILABLE
    default_reason = "UNAVAILABLE"


class DeadlineExceeded(ServiceError):
    """The caller's time ran out."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED
    exit_code = 4
    default_reason = "DEADLINE_EXCEEDED"


class Cancelled(ServiceError):
    """The caller gave up."""

    code = grpc.StatusCode.CANCELLED
    default_reason = "CANCELLED"


class Unimplemented(ServiceError):
    """The method is not served."""

    code = grpc.StatusCode.UNIMPLEMENTED
    default_reason = "UNIMPLEMENTED"


class Internal(ServiceError):
    """Our fault; the log has the trace."""


_PLAIN = {error.code: error for error in (DeadlineExceeded, Cancelled, Unimplemented, Internal)}

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
        packed = Any()
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
    if (error.code(), details) == _LOST_WRITE:
        return Unavailable("the call ended while its requests were being sent", reason="CALL_LOST")
    if (error.code(), details) == _DRAINED:
        return Unavailable("the call reached a server that was ending", reason="CALL_LOST")
    return _rebuild(error.code(), details, error_details_pb2.ErrorInfo(), 1.0)


def _code_of(number: int) -> grpc.StatusCode:
    return next((c for c in grpc.StatusCode if c.value[0] == number), grpc.StatusCode.UNKNOWN)


def _rebuild(
    code: grpc.StatusCode,
    message: str,
    info: error_details_pb2.ErrorInfo,
    retry_after: float,
) -> ServiceError:
    reason, metadata = info.reason or None, dict(info.metadata)
    match code:
        case grpc.StatusCode.INVALID_ARGUMENT:
            field = metadata.pop("field", "")
            return InvalidArgument(message, field=field, reason=reason, metadata=metadata)
        case grpc.StatusCode.NOT_FOUND:
            resource = metadata.pop("resource", "")
            return NotFound(message, resource=resource, reason=reason, metadata=metadata)
        case grpc.StatusCode.ALREADY_EXISTS:
            resource = metadata.pop("resource", "")
            return AlreadyExists(message, resource=resource, reason=reason, metadata=metadata)
        case grpc.StatusCode.FAILED_PRECONDITION:
            subject = metadata.pop("subject", "")
            return Precondition(message, subject=subject, reason=reason, metadata=metadata)
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return Exhausted(message, reason=reason, retry_after=retry_after, metadata=metadata)
        case grpc.StatusCode.UNAVAILABLE:
            return Unavailable(message, reason=reason, retry_after=retry_after, metadata=metadata)
        case _:
            kind = _PLAIN.get(code, Internal)
            return kind(message, reason=reason, metadata=metadata)
