"""The errors that handlers raise; servicekit.statuses translates them.

ServiceError
├── InvalidArgument     the request can never work; carries the field
├── NotFound            a named thing does not exist
├── AlreadyExists       a named thing exists and is different
├── Precondition        the system's state forbids it now
├── Unauthenticated     it is not known who calls
├── PermissionDenied    who calls may not do this
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
from google.protobuf.message import Message
from google.rpc import error_details_pb2

from servicekit.texts import encoded_length, shortened

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


class Unauthenticated(ServiceError):
    """It is not known who calls: no token, or one that does not count."""

    code = grpc.StatusCode.UNAUTHENTICATED
    exit_code = 3
    default_reason = "UNAUTHENTICATED"


class PermissionDenied(ServiceError):
    """Who calls may not do this, or may not know whether the named thing exists."""

    code = grpc.StatusCode.PERMISSION_DENIED
    exit_code = 3
    default_reason = "PERMISSION_DENIED"


class Unimplemented(ServiceError):
    """The method is not served."""

    code = grpc.StatusCode.UNIMPLEMENTED
    default_reason = "UNIMPLEMENTED"


class Internal(ServiceError):
    """Our fault; the log has the trace."""
