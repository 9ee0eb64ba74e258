"""What to do about the errors of services whose own messages do not say it."""

import grpc

from servicekit.errors import ServiceError

_REMEDIES = {
    "OUTSIDE_IMPORT_ROOTS": "Start the system with `variegate up --import-root FOLDER`.",
    "QUEUE_FULL": "The system is busy. Try again in a little while.",
    # Their messages say it.
    "STORE_UNREACHABLE": "",
}
_REMEDIES_BY_CODE = {
    grpc.StatusCode.UNAVAILABLE: "Check that the system is running: `variegate doctor`, or start "
    "one with `variegate up`.",
    grpc.StatusCode.INTERNAL: "Look into the log of the system, or run again with --debug.",
}


def remedy_of(error: ServiceError) -> str:
    """Returns what to do, where the error's own message does not say it; else ""."""
    return _REMEDIES.get(error.reason, _REMEDIES_BY_CODE.get(error.code, ""))
