"""Progress of running work, for GetOperation. In memory: a resumed run counts finished steps."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.clients.patience import Waits
from servicekit.texts import shortened

_LISTED_FAILURES = 20
MOST_NOTICES, _LONGEST_NOTICE = 200, 1024


@dataclass
class WorkProgress:
    """What is being done now. Filled by the work, read by the service."""

    stage: str = ""
    unit: str = ""
    part: str = ""
    done: int = 0
    total: int = 0
    failed: int = 0
    failures: deque[tuple[str, str]] = field(default_factory=lambda: deque(maxlen=_LISTED_FAILURES))
    seconds: dict[str, float] = field(default_factory=dict)
    child: "WorkProgress | None" = None  # The part of a study that is being done now.
    notices: list[str] = field(default_factory=list)
    waits: Waits = field(default_factory=Waits)
    # Is told of each image that is decided on: ACCEPTED, or why it is not.
    decided: Callable[[str], None] = lambda outcome: None
    _began: float = field(default_factory=time.monotonic)
    _done_before: int = 0
    _changed: float = field(default_factory=time.monotonic)

    def start(self, stage: str, total: int, unit: str, done: int = 0) -> None:
        """Begins a stage of `total` units, `done` of them already, and ends the one before."""
        self.finish()
        self.stage, self.total, self.unit, self.done = stage, total, unit, done
        self._began = self._changed = time.monotonic()
        self._done_before = done

    def finish(self) -> None:
        """Ends the stage and adds up its time."""
        if self.stage:
            spent = time.monotonic() - self._began
            self.seconds[self.stage] = self.seconds.get(self.stage, 0.0) + spent
        self.stage = ""

    def advance(self, count: int = 1) -> None:
        """Counts units as done."""
        self.done += count
        self._changed = time.monotonic()

    def set(self, stage: str, done: int, total: int, unit: str) -> None:
        """Sets the stage as a whole, for work that counts by itself."""
        if stage != self.stage:
            self.start(stage, total, unit)
        if (done, total) != (self.done, self.total):
            self._changed = time.monotonic()
        self.done, self.total = done, total

    def fail(self, item_id: str, message: str) -> None:
        """Counts an item that failed permanently."""
        self.failed += 1
        self._changed = time.monotonic()
        self.failures.append((item_id, message))

    def notice(self, text: str) -> None:
        """Adds a sentence that people should read while it runs; once, and not without end."""
        text = shortened(text, _LONGEST_NOTICE)
        if text not in self.notices and len(self.notices) < MOST_NOTICES:
            self.notices.append(text)

    def rate(self) -> float:
        """Returns units per second in this stage."""
        return (self.done - self._done_before) / max(time.monotonic() - self._began, 1e-3)

    def quiet_seconds(self) -> float:
        """Returns the seconds since anything was done, here or in the part that is done now."""
        mine = time.monotonic() - self._changed
        return min(mine, self.child.quiet_seconds()) if self.child else mine
