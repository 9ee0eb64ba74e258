"""Where durable work stands, and how its error is written down."""

import base64
from dataclasses import dataclass
from typing import Literal

from google.rpc import status_pb2

from gateway.clients.faults import is_lasting, is_passing
from servicekit.errors import Cancelled, ServiceError
from servicekit.statuses import from_status, to_status


@dataclass(frozen=True)
class State:
    """Where a piece of work stands. `error` is set if it failed or was cancelled.

    `changed` is when it came to stand there, in seconds since 1970; 0 if not known. `progress` is
    what another gateway, or this one before it was started anew, told of it; None if this process
    itself did the work, and knows more.
    """

    status: Literal["running", "done", "failed"]
    error: ServiceError | None = None
    changed: float = 0.0
    progress: bytes | None = None

    @property
    def may_go_on(self) -> bool:
        """Says whether the work ended for want of something that may be there now; what it had
        found out otherwise may be what has changed."""
        error = self.error
        return isinstance(error, Cancelled) or (
            error is not None and (is_passing(error) or is_lasting(error))
        )


def pack(error: BaseException) -> str:
    """Returns the error as a text."""
    return base64.b64encode(to_status(error, "gateway").SerializeToString()).decode()


def unpack(text: str) -> ServiceError:
    """Returns the error that a text was made of."""
    return from_status(status_pb2.Status.FromString(base64.b64decode(text)))
