"""The audit log: who created, cancelled and read what, as lines of JSON."""

import json
import logging
from collections import OrderedDict
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from pathlib import Path

import grpc

from gateway.auth.principals import Principal

# Callers poll these some times a second: written when a principal's answer about a resource is
# another than the last.
_POLLED = ("GetOperation", "WaitOperation")
_MOST_POLLS = 10_000
_LOGGER = "variegate.audit"


class Audit:
    """Writes a line for each call that was answered or refused.

    With a path the lines go there; a file that is moved away (logrotate) is made anew. Without one
    they are part of the log.
    """

    def __init__(self, path: str = "") -> None:
        self._log = logging.getLogger(_LOGGER if not path else f"{_LOGGER}.{path}")
        self._polls: OrderedDict[tuple[object, ...], None] = OrderedDict()
        if path and not self._log.handlers:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._log.addHandler(WatchedFileHandler(path))
            self._log.propagate = False
        self._log.setLevel(logging.INFO)

    def note(
        self,
        principal: Principal | None,
        method: str,
        resources: list[str],
        code: grpc.StatusCode,
        peer: str,
    ) -> None:
        """Notes a call; `principal` is None if it is not known who called."""
        name = method.rpartition("/")[2]
        if name in _POLLED and not self._is_new((principal, *resources, code)):
            return
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "principal": principal.name if principal else None,
            "owner": principal.owner if principal else None,
            "method": name,
            "resources": resources,
            "code": code.name,
            "peer": peer,
        }
        self._log.info("%s", json.dumps(line))

    def _is_new(self, poll: tuple[object, ...]) -> bool:
        if poll in self._polls:
            self._polls.move_to_end(poll)
            return False
        self._polls[poll] = None
        if len(self._polls) > _MOST_POLLS:
            self._polls.popitem(last=False)
        return True
