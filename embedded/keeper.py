"""Keeps the servers of other projects alive that a service works with."""

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from servicekit.server import Service

# A server that dies more often than this within so many seconds needs a person.
_MOST, _WITHIN = 5, 600.0
_log = logging.getLogger(__name__)

# Returns a service that supervises its server.
Keep = Callable[[Service], Service]


class LocalServer(Protocol):
    """A server in a child process. It may take `ready_seconds` to start."""

    @property
    def name(self) -> str: ...

    @property
    def log(self) -> Path: ...

    @property
    def ready_seconds(self) -> float: ...

    @property
    def has_ended(self) -> bool: ...

    def launch(self) -> object:
        """Starts it and does not wait."""

    def kill(self) -> None:
        """Ends it at once."""

    def stop(self) -> None:
        """Lets it finish what it is doing, and ends it."""


@dataclass
class Keeper:
    """Starts a server anew when a probe fails: ever more slowly, and not for ever."""

    server: LocalServer
    clock: Callable[[], float] = time.monotonic
    _restarts: list[float] = field(default_factory=list)
    _is_closed: bool = False
    _changing: threading.Lock = field(default_factory=threading.Lock)

    def watch(self, service: Service) -> Service:
        """Returns the service with a probe that restarts what it finds dead; it must have one."""
        probe = service.probe
        assert probe is not None
        return replace(service, probe=lambda: self.check(probe))

    async def check(self, probe: Callable[[], Awaitable[bool]]) -> bool:
        """Returns what `probe` says, having started the server anew if that was no and is due."""
        is_well = await probe()
        if not is_well and self._is_due():
            await asyncio.to_thread(self._renew)
        return is_well

    def close(self) -> None:
        """Ends the server permanently."""
        with self._changing:
            self._is_closed = True
            self.server.stop()

    def _is_due(self) -> bool:
        now = self.clock()
        self._restarts = [then for then in self._restarts if now - then < _WITHIN]
        if not self._restarts:
            return True
        since = now - self._restarts[-1]
        # One that is starting does not work yet.
        has_failed = self.server.has_ended or since > self.server.ready_seconds
        return has_failed and since > 2 ** len(self._restarts) and len(self._restarts) < _MOST

    def _renew(self) -> None:
        with self._changing:
            if self._is_closed:
                return
            self._restarts.append(self.clock())
            times = f"{len(self._restarts)} of at most {_MOST} times in {_WITHIN / 60:.0f} minutes"
            name, log = self.server.name, self.server.log
            _log.warning("%s does not work and is restarted, %s; see %s", name, times, log)
            self.server.kill()
            self.server.launch()
