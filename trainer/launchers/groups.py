"""Several worker processes that train one run together, started by torchrun."""

import asyncio
import json
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from servicekit.children import python_command
from trainer.launchers.workers import (
    LINE_LIMIT,
    Event,
    death_of,
    failure_of,
    worker_environment,
)

# Within which the machines of a group meet: the pods of some may have to wait for room.
MEETING_SECONDS = 600
# For torchrun to part from that of the other machines.
_PARTING_SECONDS = 10.0


@dataclass(frozen=True)
class Group:
    """The processes of one run: on `machines`, `processes` on each, which meet at `rendezvous`.

    That is "HOST:PORT" of the machine with `index` 0, where `meeting` is the name of one try; a
    group of one machine needs neither.
    """

    machines: int = 1
    processes: int = 1
    rendezvous: str = ""
    index: int = 0
    meeting: str = ""

    @property
    def count(self) -> int:
        """Processes in all."""
        return self.machines * self.processes

    def command(self, spec: Path) -> list[str]:
        """The command that starts this machine's part."""
        meeting = ["--standalone"]
        if self.machines > 1:
            # Which machine they meet at is known, and not guessed from names that DNS may lack yet.
            rules = f"is_host={int(self.index == 0)},join_timeout={MEETING_SECONDS}"
            meeting = ["--rdzv-backend=c10d", f"--rdzv-endpoint={self.rendezvous}"]
            meeting += [f"--rdzv-id={self.meeting}", f"--rdzv-conf={rules}"]
        sizes = [f"--nnodes={self.machines}", f"--nproc-per-node={self.processes}"]
        worker = ["-m", "trainer.worker", str(spec)]
        return [*python_command("torch.distributed.run", *sizes, *meeting, *worker)]


async def run_group(group: Group, spec: Path, on_event: Callable[[Event], None]) -> Event | None:
    """Trains the spec; returns the result on the machine of the first process, None on others.

    Cancelling kills all of this machine's processes. Raises as `Worker.run` does.
    """
    process = await asyncio.create_subprocess_exec(
        *group.command(spec),
        stdin=asyncio.subprocess.PIPE,  # The workers end when it does.
        stdout=asyncio.subprocess.PIPE,
        env=worker_environment(),
        limit=LINE_LIMIT,
        start_new_session=True,
    )
    try:
        result = await _followed(process, on_event)
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _PARTING_SECONDS)
        return result
    finally:
        # The workers have sessions of their own, and may wait for a lost machine for long.
        assert process.stdin
        process.stdin.close()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _followed(
    process: asyncio.subprocess.Process, on_event: Callable[[Event], None]
) -> Event | None:
    assert process.stdout
    step = 0
    async for line in process.stdout:
        event: Event = json.loads(line)
        if event["event"] == "done":
            result: Event | None = event["result"]
            return result
        if event["event"] == "failed":
            raise failure_of(event)
        step = event.get("step", step)
        on_event(event)
    raise death_of(await process.wait(), step)
