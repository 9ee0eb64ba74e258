"""What large runs are measured with: services that answer at once, and how late the loop is."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_PAUSE = 0.005


@contextmanager
def five_services() -> Iterator[str]:
    """Five services that answer at once, in another process; gives their address."""
    command = [sys.executable, "-m", "tests.gateway.many"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process.stdout.readline().strip()
        process.stdin.close()


@dataclass
class Beats:
    """How late the event loop was at every beat, and the seconds that its thread worked."""

    late: list[float] = field(default_factory=list)
    worked: list[float] = field(default_factory=list)

    async def watch(self) -> None:
        """Notes both every few milliseconds, until it is cancelled."""
        while True:
            began, worked = time.perf_counter(), time.thread_time()
            await asyncio.sleep(_PAUSE)
            self.late.append(time.perf_counter() - began - _PAUSE)
            self.worked.append(time.thread_time() - worked)
