"""Worker processes: at most a fixed number of runs at once, the others wait.

A worker stays warm after a run, because loading torch takes longer than a small run's first
hundred steps. Training in a process of its own keeps the server answering, lets a run be stopped
in mid-step, and keeps a run that exhausts the memory from taking the server along.
"""

import asyncio
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from servicekit.children import python_command, python_environment
from servicekit.errors import Exhausted, Internal, Precondition, ServiceError

Event = dict[str, Any]

LINE_LIMIT = 64 * 1024 * 1024  # a result carries the confusion of all classes


class Worker:
    """One worker process, started when needed. Runs one spec at a time."""

    def __init__(self, idle_seconds: float) -> None:
        self._idle_seconds = idle_seconds
        self._process: asyncio.subprocess.Process | None = None
        self._idle_timer: asyncio.TimerHandle | None = None

    async def run(self, spec: Path, on_event: Callable[[Event], None]) -> Event:
        """Trains the spec and returns its result. Cancelling kills the process.

        Raises Exhausted if the process was killed (memory), Precondition if the loss was not
        finite, Internal otherwise.
        """
        try:
            return await self._run(spec, on_event)
        except BaseException as error:
            # After a failure that the worker itself reported it is still good for the next run.
            if not isinstance(error, ServiceError):
                await self.stop()
            raise
        finally:
            self._rest()

    async def stop(self) -> None:
        """Ends the process at once."""
        self._stay_awake()
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            process.kill()
        await process.wait()

    async def _run(self, spec: Path, on_event: Callable[[Event], None]) -> Event:
        self._stay_awake()
        process = await self._started()
        assert process.stdin and process.stdout
        process.stdin.write(f"{spec}\n".encode())
        step = 0
        async for line in process.stdout:
            event: Event = json.loads(line)
            if event["event"] == "done":
                result: Event = event["result"]
                return result
            if event["event"] == "failed":
                raise failure_of(event)
            step = event.get("step", step)
            on_event(event)
        self._process = None
        raise death_of(await process.wait(), step)

    async def _started(self) -> asyncio.subprocess.Process:
        process = self._process
        asleep = process is not None and process.stdin is not None and process.stdin.is_closing()
        if process is not None and asleep:
            await process.wait()
        if process is None or process.returncode is not None:
            self._process = process = await asyncio.create_subprocess_exec(
                *python_command("trainer.worker"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=worker_environment(),
                limit=LINE_LIMIT,
                # Ctrl-C is for us, who know what it means for the run.
                start_new_session=True,
            )
        return process

    def _rest(self) -> None:
        if self._process is not None:
            loop = asyncio.get_running_loop()
            self._idle_timer = loop.call_later(self._idle_seconds, self._sleep)

    def _sleep(self) -> None:
        """The end of its input ends the worker."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    def _stay_awake(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None


class WorkerPool:
    """`count` workers; `run` waits for a free one, the most recently used first."""

    def __init__(self, count: int, idle_seconds: float) -> None:
        self._workers = [Worker(idle_seconds) for _ in range(count)]
        self._free: asyncio.LifoQueue[Worker] = asyncio.LifoQueue()
        for worker in self._workers:
            self._free.put_nowait(worker)

    async def run(self, spec: Path, on_event: Callable[[Event], None]) -> Event:
        """As `Worker.run`, on the next free worker."""
        worker = await self._free.get()
        try:
            return await worker.run(spec, on_event)
        finally:
            self._free.put_nowait(worker)

    async def close(self) -> None:
        """Ends all processes."""
        await asyncio.gather(*(worker.stop() for worker in self._workers))


def worker_environment() -> dict[str, str]:
    """The server's environment without its credentials, and with this package on the path."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    kept.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it CUDA is not deterministic
    return python_environment(kept, Path(__file__).parents[2])


def failure_of(event: Event) -> ServiceError:
    """The error of what a worker says of its failure."""
    reason, message = event["reason"], event["message"]
    if reason in ("LOSS_NOT_FINITE", "CLASSIFIER_UNFIT"):
        return Precondition(message, subject=event["subject"], reason=reason)
    if reason == "OUT_OF_MEMORY":
        return Exhausted(
            f"the run needs more memory than there is ({message}); use a smaller batch_size or "
            "image_size, or give the trainer more memory",
            reason=reason,
            retry_after=30.0,
        )
    if reason == "SCRATCH_FULL":
        return Exhausted(
            f"the trainer's scratch folder is full ({message}); make room, or set TRAINER_SCRATCH "
            "to a folder with more, and ask again: the run goes on from its last checkpoint",
            reason=reason,
            retry_after=30.0,
        )
    return Internal(f"training failed: {message}; the trainer's log has the trace")


def death_of(return_code: int, step: int) -> ServiceError:
    """The error of a worker that ended without a word."""
    if return_code == -signal.SIGKILL:
        return Exhausted(
            f"the training process was killed after step {step}, most likely for lack of memory; "
            "ask again to go on from the last checkpoint, and if it is killed again use a smaller "
            "batch_size or image_size, or give the trainer more memory",
            reason="WORKER_KILLED",
            retry_after=5.0,
        )
    return Internal(
        f"the training process ended unexpectedly after step {step} (exit status {return_code}); "
        "ask again to go on from the last checkpoint; the trainer's log says more"
    )
