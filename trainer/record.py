"""What a run that trains elsewhere tells through the store: reports, and what ended it."""

import json
from dataclasses import asdict, dataclass

from google.rpc import status_pb2

from servicekit.errors import NotFound, ServiceError
from servicekit.statuses import from_status, to_status
from servicekit.storage import ObjectStore
from trainer.history import RunHistory
from trainer.launchers.base import Report

_REPORTS, _FAILURE, _INTERRUPTION = "reports.jsonl", "failure.pb", "interruption.pb"
_MEETING = "meeting.txt"


@dataclass(frozen=True)
class Seen:
    """What the machines of a run see of one another: how far it is, and where they meet now."""

    has_result: bool = False
    meeting: str = ""


class RunRecord:
    """Written by the run, read by whoever follows it. Synchronous."""

    def __init__(self, store: ObjectStore, run: str) -> None:
        self._store, self._run = store, run
        self._version = ""

    def keep_reports(self, reports: list[Report]) -> None:
        """Replaces the reports so far."""
        lines = (json.dumps(asdict(report)) + "\n" for report in reports)
        self._put(_REPORTS, "".join(lines).encode())

    def new_reports(self) -> list[Report]:
        """The reports so far, if they have changed since they were last read; else none."""
        key = f"{self._run}/{_REPORTS}"
        try:
            version = self._store.version(key)
            if version == self._version:
                return []
            lines = self._store.get(key).decode().splitlines()
        except NotFound:
            return []
        self._version = version
        return [Report(**json.loads(line)) for line in lines]

    def fail(self, error: ServiceError) -> None:
        """Keeps the error that ends the run, for good."""
        self._put(_FAILURE, to_status(error, "trainer").SerializeToString())

    def interrupt(self, error: ServiceError) -> None:
        """Keeps the error that interrupted the run, which is tried again."""
        self._put(_INTERRUPTION, to_status(error, "trainer").SerializeToString())

    def failure(self) -> ServiceError | None:
        """What ended the run for good, if that was an error."""
        return self._error(_FAILURE)

    def interruption(self) -> ServiceError | None:
        """What interrupted the run last."""
        return self._error(_INTERRUPTION)

    def call_to(self, meeting: str) -> None:
        """Calls the machines of the run to a meeting, in place of any earlier one."""
        self._put(_MEETING, meeting.encode())

    def seen(self) -> Seen:
        """What a machine of the run sees of the others."""
        key = f"{self._run}/{_MEETING}"
        meeting = self._store.get(key).decode() if self._store.exists(key) else ""
        return Seen(RunHistory(self._store).has_result(self._run), meeting)

    def clear(self) -> None:
        """Forgets all, before the run is tried anew."""
        for name in (_REPORTS, _FAILURE, _INTERRUPTION, _MEETING):
            self._store.delete(f"{self._run}/{name}")

    def _put(self, name: str, data: bytes) -> None:
        self._store.put(f"{self._run}/{name}", data, overwrite=True)

    def _error(self, name: str) -> ServiceError | None:
        try:
            data = self._store.get(f"{self._run}/{name}")
        except NotFound:
            return None
        return from_status(status_pb2.Status.FromString(data))
