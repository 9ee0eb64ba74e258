"""A worker process: trains one run after another, so that torch is loaded once.

`python -m trainer.worker` reads paths of specs, one a line, from its standard input, and writes
events, one JSON object a line, to its standard output. It ends when the input ends, at once and
in mid-run, so it never outlives the process that started it.
`python -m trainer.worker SPEC.json` trains one run under torchrun, together with the others that
it started; it ends in the same way.

Events: "metrics" and "checkpoint" (see `training.train`), then "done" with the `result` or "failed"
with `reason`, `message` and `subject`. Of several processes the first tells of the run, and the
first of each machine says "started" when all have met; those of the other machines end with "done"
without a result, after the first.
"""

import dataclasses
import json
import os
import queue
import sys
import threading
import traceback
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, TextIO

import torch
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from trainer.distribution import Share
from trainer.strategies.base import UnfitModelError
from trainer.training import Event, LossNotFiniteError, read_spec, train

# As torch's allocators, CUDA's libraries and the operating system put it; only CUDA's own allocator
# has an error of its own.
_NO_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "Cannot allocate memory",
    "not enough memory",
    "ALLOC_FAILED",
)
_NO_SPACE = ("No space left on device", "Disk quota exceeded")
_LONGEST_MESSAGE = 300
_TESTED = "tested"
# With a test on however many images.
_PATIENCE = timedelta(days=7)


def main() -> None:
    """Serves specs from the command line or the standard input."""
    events = _claim_stdout()

    def emit(event: Event) -> None:
        events.write(json.dumps(event) + "\n")
        events.flush()

    lines, share = _lines_of_stdin(), Share.of(os.environ)
    for path in sys.argv[1:] or lines:
        try:
            if share.count > 1 and share.local_rank == 0:
                emit({"event": "started"})
            result = train(read_spec(Path(path)), emit if share.is_first else _ignore)
            if not share.is_first:
                _wait_for_the_first()
            if share.local_rank == 0:
                emit({"event": "done", "result": result and dataclasses.asdict(result)})
            if share.count > 1 and share.is_first:
                _meeting().set(_TESTED, "")
        except Exception as error:
            emit(_failure(error))
            if share.count > 1:
                _end(1)  # The others would wait for it.
        # After a failure its tensors are free only now that nothing refers to the error.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    _end(0)


def _meeting() -> TCPStore:
    """What torchrun keeps on the machine of the first process; it is lost with it."""
    return TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))


def _wait_for_the_first() -> None:
    """Waits while the first process tests. Raises if it is lost.

    A machine that ended earlier could not tell whether it is needed again; and torchrun would begin
    anew with it if it came back.
    """
    _meeting().wait([_TESTED], _PATIENCE)


def _end(status: int) -> None:
    """Ends the process as it is.

    While Python takes itself apart, the thread that watches the input no longer runs, and gloo's
    may never end: the process would outlive all others.
    """
    sys.stderr.flush()
    os._exit(status)


def _ignore(event: Event) -> None:
    """What another process tells."""


def _failure(error: Exception) -> Event:
    """The event of an error that ended a run; what is nobody's fault but ours leaves a trace."""
    reason, message = "INTERNAL", f"{type(error).__name__}: {error}"
    subject = ""
    if isinstance(error, LossNotFiniteError):
        reason, message = "LOSS_NOT_FINITE", str(error)
        subject = error.subject
    elif isinstance(error, UnfitModelError):
        reason, message = "CLASSIFIER_UNFIT", str(error)
        subject = "training_run.classifier"
    elif _is_lack_of(error, MemoryError | torch.OutOfMemoryError, _NO_MEMORY):
        reason, message = "OUT_OF_MEMORY", str(error).partition("\n")[0][:_LONGEST_MESSAGE]
    elif _is_lack_of(error, (), _NO_SPACE):
        reason, message = "SCRATCH_FULL", str(error)[:_LONGEST_MESSAGE]
    else:
        traceback.print_exception(error)
    return {"event": "failed", "reason": reason, "message": message, "subject": subject}


def _is_lack_of(error: Exception, kinds: Any, words: tuple[str, ...]) -> bool:
    """Says whether an error is of these kinds, or a library says so in words alone."""
    return isinstance(error, kinds) or any(word in str(error) for word in words)


def _claim_stdout() -> TextIO:
    """Keeps the standard output for events: whatever a library prints goes to the error output."""
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return events


def _lines_of_stdin() -> Iterator[str]:
    """Returns the lines; a thread waits for the end of the input even while a run trains."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        # Not sys.stdin: its lock, held while this waits, would block the processes that load
        # images, which close it.
        with os.fdopen(os.dup(0), encoding="utf-8") as file:
            for line in file:
                lines.put(line.strip())
        os._exit(0)

    threading.Thread(target=read, name="parent watch", daemon=True).start()
    return iter(lines.get, None)


if __name__ == "__main__":
    main()
