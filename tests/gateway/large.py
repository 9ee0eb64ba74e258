"""What large runs are measured with: services that answer at once, and how late the loop is."""

import asyncio
import gc
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_PAUSE = 0.005
_SCHEDULED = Path("/proc/thread-self/schedstat")


@contextmanager
def five_services(niceness: int = 0) -> Iterator[str]:
    """Five services that answer at once, in another process; gives their address.

    `niceness` above 0 leaves this machine's cores to the gateway first, as services on other
    machines do.
    """
    command = ["nice", "-n", str(niceness), sys.executable, "-m", "tests.gateway.many"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process.stdout.readline().strip()
        process.stdin.close()


@dataclass
class Beats:
    """How late the event loop was at every beat, and the seconds that its thread worked.

    The time in which it could have run and other processes had the cores is not in `late`, where
    the kernel tells it. Python's garbage collector visits all that is alive in whichever thread it
    comes up; its pauses are in `collected`, and not in `worked`.
    """

    late: list[float] = field(default_factory=list)
    worked: list[float] = field(default_factory=list)
    collected: list[float] = field(default_factory=lambda: [0.0])

    async def watch(self) -> None:
        """Notes both every few milliseconds, until it is cancelled."""
        began_collecting, thread = 0.0, threading.get_ident()

        def note(phase: str, facts: dict[str, int]) -> None:
            nonlocal began_collecting
            if threading.get_ident() != thread:
                return
            if phase == "start":
                began_collecting = time.thread_time()
            else:
                self.collected.append(time.thread_time() - began_collecting)

        gc.callbacks.append(note)
        try:
            while True:
                began, worked, waited = time.perf_counter(), time.thread_time(), _waited()
                before = len(self.collected)
                await asyncio.sleep(_PAUSE)
                waited = _waited() - waited
                self.late.append(time.perf_counter() - began - _PAUSE - waited)
                pauses = sum(self.collected[before:])
                self.worked.append(time.thread_time() - worked - pauses)
        finally:
            gc.callbacks.remove(note)


def _waited() -> float:
    """Seconds in which this thread was ready to run and did not; 0 where it is not known."""
    try:
        return int(_SCHEDULED.read_text().split()[1]) / 1e9
    except OSError:
        return 0.0
