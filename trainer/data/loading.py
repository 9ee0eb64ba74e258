"""Has batches made ahead of the step that needs them, by processes of their own."""

import ctypes
import logging
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from math import inf
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import torch
from torch.utils.data import DataLoader, Dataset

_log = logging.getLogger(__name__)

_Made = TypeVar("_Made", covariant=True)

# Batches that a process has ready.
_AHEAD = 2
# A process takes as long to start as so many small images take to be changed.
_WORTH_A_PROCESS = 10_000
_MOST_PROCESSES = 16
_SHARED_MEMORY = Path("/dev/shm")
_PR_SET_PDEATHSIG = 1


class Batches(Protocol[_Made]):
    """Makes the batch of a number."""

    def __getitems__(self, number: int) -> _Made:
        """The batch; the name is the one by which torch's loader asks for a whole batch."""


def load(batches: Batches[_Made], numbers: range, processes: int, pinned: bool) -> Iterator[_Made]:
    """Yields the batches of these numbers, in order, whatever the number of processes.

    Without processes each is made when it is asked for. `pinned` is for batches that go to a GPU.
    Raises MemoryError if a process was killed.
    """
    loader: DataLoader[Any] = DataLoader(
        cast(Dataset[Any], batches),
        batch_sampler=cast(Any, numbers),
        num_workers=processes,
        collate_fn=_as_made,
        pin_memory=pinned,
        prefetch_factor=_AHEAD if processes else None,
        multiprocessing_context="fork" if processes else None,
        worker_init_fn=_end_with_parent,
        generator=torch.Generator(),  # It draws a seed that nothing uses.
    )
    handler = signal.getsignal(signal.SIGCHLD)
    made = iter(loader)
    if threading.current_thread() is threading.main_thread():
        # torch's handler raises in the midst of whatever runs when a process dies; the loader finds
        # that out by itself a little later.
        signal.signal(signal.SIGCHLD, handler)
    try:
        yield from made
    except (RuntimeError, EOFError, ConnectionError) as error:
        if not processes or not _is_of_the_killed(error):
            raise
        raise MemoryError("a process that loads images was killed") from error


def _is_of_the_killed(error: Exception) -> bool:
    if isinstance(error, RuntimeError):
        return "exited unexpectedly" in str(error)
    # One that dies while it hands a batch over is known by the end of the connection alone; errors
    # of the batches themselves say that they were caught in a process.
    return not str(error).startswith("Caught ")


def process_count(wanted: int, image_count: int, batch_bytes: int, most: int) -> int:
    """How many processes load `image_count` images: `wanted`, or if that is 0 at most `most`.

    They hand batches over in shared memory, of which containers often have little.
    """
    count = wanted or (min(most, _MOST_PROCESSES) if image_count >= _WORTH_A_PROCESS else 0)
    fitting = _free_shared_memory() / (_AHEAD * max(1, batch_bytes))
    if count > fitting:
        _log.warning(
            "batches of %d bytes: %s has room for those of %d loader processes instead of %d; "
            "give it more",
            batch_bytes, _SHARED_MEMORY, fitting, count,
        )  # fmt: skip
    return int(min(count, fitting))


def _free_shared_memory() -> float:
    return shutil.disk_usage(_SHARED_MEMORY).free if _SHARED_MEMORY.is_dir() else inf


def _as_made(batch: Any) -> Any:
    return batch


def _end_with_parent(number: int) -> None:
    """Has the system end this process when the one that trains ends, however it does."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
