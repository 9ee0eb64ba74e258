"""The generator's engine in a Triton server on this machine, where VARIEGATE_ENGINE says so."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from embedded.choice import chosen
from generator.settings import GeneratorSettings
from servicekit.server import Service

if TYPE_CHECKING:
    from generator.triton.launcher import LocalTriton

ENGINE_KEY = "VARIEGATE_ENGINE"
# A Triton that dies more often than this within so many seconds needs a person.
_MOST, _WITHIN = 5, 600.0
_log = logging.getLogger(__name__)


async def place_engine(
    settings: GeneratorSettings, state: Path, store: str, exit_stack: AsyncExitStack
) -> tuple[GeneratorSettings, Callable[[Service], Service]]:
    """Returns the settings with which the generator finds its engine, and what keeps that alive.

    By default the engine is in its own process. With VARIEGATE_ENGINE=triton a Triton server is
    started first, started anew when the service that the second result made finds it dead, and
    ended with `exit_stack`. Raises Precondition if Triton is not installed.
    """
    if chosen(ENGINE_KEY, ("embedded", "triton")) == "embedded":
        return settings, lambda service: service
    from generator.triton.launcher import LocalTriton

    server = LocalTriton(state / "triton", settings, store)
    await asyncio.to_thread(server.start)
    keeper = Keeper(server)
    exit_stack.push_async_callback(asyncio.to_thread, keeper.close)
    return server.settings, keeper.watch


@dataclass
class Keeper:
    """Starts Triton anew when a service's probe fails: ever more slowly, and not for ever."""

    server: "LocalTriton"
    clock: Callable[[], float] = time.monotonic
    _restarts: list[float] = field(default_factory=list)
    _is_closed: bool = False
    _changing: threading.Lock = field(default_factory=threading.Lock)

    def watch(self, service: Service) -> Service:
        """Returns the service with a probe that mends what it finds; it must have one."""
        probe = service.probe
        assert probe is not None

        async def probe_and_mend() -> bool:
            is_well = await probe()
            if not is_well and self._is_due():
                await asyncio.to_thread(self._renew)
            return is_well

        return replace(service, probe=probe_and_mend)

    def close(self) -> None:
        """Ends the server for good."""
        with self._changing:
            self._is_closed = True
            self.server.stop()

    def _is_due(self) -> bool:
        now = self.clock()
        self._restarts = [then for then in self._restarts if now - then < _WITHIN]
        if not self._restarts:
            return True
        since = now - self._restarts[-1]
        # One that is starting makes no images yet.
        has_failed = self.server.has_ended or since > self.server.ready_seconds
        return has_failed and since > 2 ** len(self._restarts) and len(self._restarts) < _MOST

    def _renew(self) -> None:
        with self._changing:
            if self._is_closed:
                return
            self._restarts.append(self.clock())
            times = f"{len(self._restarts)} of at most {_MOST} times in {_WITHIN / 60:.0f} minutes"
            why = f"Triton makes no images and is started anew, {times}; see {self.server.log}"
            _log.warning("%s", why)
            self.server.kill()
            self.server.launch()
