"""Exit codes, and the errors that the command line raises itself."""

import grpc

from servicekit.errors import ServiceError

OK = 0
FAILED = 1
USAGE = 2
PRECONDITION = 3
UNAVAILABLE = 4
SHORTFALL = 5
INTERRUPTED = 130

_BY_CODE = {
    grpc.StatusCode.INVALID_ARGUMENT: USAGE,
    grpc.StatusCode.NOT_FOUND: PRECONDITION,
    grpc.StatusCode.ALREADY_EXISTS: PRECONDITION,
    grpc.StatusCode.FAILED_PRECONDITION: PRECONDITION,
    grpc.StatusCode.UNAVAILABLE: UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED: UNAVAILABLE,
}

_REMEDIES = {
    "OUTSIDE_IMPORT_ROOTS": "Start the system with `variegate up --import-root FOLDER`.",
    "QUEUE_FULL": "The system is busy. Try again in a little while.",
}
_REMEDIES_BY_CODE = {
    grpc.StatusCode.UNAVAILABLE: "Check that the system is running: `variegate doctor`, or start "
    "one with `variegate up`.",
    grpc.StatusCode.INTERNAL: "Look into the log of the system, or run again with --debug.",
}


def exit_code_of(error: ServiceError) -> int:
    """Returns the exit code for an error of a service."""
    return _BY_CODE.get(error.code, FAILED)


def remedy_of(error: ServiceError) -> str:
    """Returns what to do, where the error's own message does not say it; else ""."""
    return _REMEDIES.get(error.reason, "") or _REMEDIES_BY_CODE.get(error.code, "")
