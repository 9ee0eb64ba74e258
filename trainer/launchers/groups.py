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

# How often torchrun starts its workers again: one may have failed because another was lost.
_RESTARTS = 3
# For torchrun to part from that of the other machines.
_PARTING_SECONDS = 60.0


@dataclass(frozen=True)
class Group:
    """The processes of one run: on `machines`, `processes` on each, which meet at `rendezvous`.

    That is "HOST:PORT" of the first machine; a group of one machine needs none.
    """

    machines: int = 1
    processes: int = 1
    rendezvous: str = ""

    @property
    def count(self) -> int:
        """Processes in all."""
        return self.machines * self.processes

    def command(self, spec: Path) -> list[str]:
        """The command that starts this machine's part."""
        meeting = ["--standalone"]
        if self.machines > 1:
            meeting = ["--rdzv-backend=c10d", f"--rdzv-endpoint={self.rendezvous}"]
            meeting += ["--rdzv-id=training", f"--max-restarts={_RESTARTS}"]
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
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _followed(
    process: asyncio.subprocess.Process, on_event: Callable[[Event], None]
) -> Event | None:
    assert process.stdout
    step, failure = 0, None
    async for line in process.stdout:
        event: Event = json.loads(line)
        if event["event"] == "done":
            result: Event | None = event["result"]
            return result
        if event["event"] == "failed":
            failure = failure_of(event)
            if event["reason"] != "INTERNAL":
                raise failure
            continue  # It may be another's fault; torchrun tries again.
        step = event.get("step", step)
        on_event(event)
    raise failure or death_of(await process.wait(), step)
