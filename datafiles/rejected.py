"""A file that is left out of a dataset or pool, and why."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RejectedFile:
    """A file that is not read: the reason is machine-readable, the message is for people."""

    path: str
    reason: str
    message: str
