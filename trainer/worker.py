"""A worker process: trains one run after another, so that torch is loaded once.

`python -m trainer.worker` reads paths of specs, one a line, from its standard input, and writes
events, one JSON object a line, to its standard output. It ends when the input ends, at once and
in mid-run, so it never outlives the process that started it.
`python -m trainer.worker SPEC.json` trains one run, for a job that runs by itself.

Events: "metrics" and "checkpoint" (see `loop.train`), then "done" with the `result` or "failed"
with `reason` and `message`.
"""

import dataclasses
import json
import os
import queue
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from trainer.loop import Event, LossNotFiniteError, train
from trainer.runs import RunSpec


def main() -> None:
    """Serves specs from the command line or the standard input."""
    events = _claim_stdout()

    def emit(event: Event) -> None:
        events.write(json.dumps(event) + "\n")
        events.flush()

    for path in sys.argv[1:] or _lines_of_stdin():
        try:
            result = train(RunSpec.read(Path(path)), emit)
            emit({"event": "done", "result": dataclasses.asdict(result)})
        except LossNotFiniteError as error:
            emit({"event": "failed", "reason": "LOSS_NOT_FINITE", "message": str(error)})
        except MemoryError as error:
            emit({"event": "failed", "reason": "OUT_OF_MEMORY", "message": str(error)})
        except Exception as error:
            traceback.print_exc()
            message = f"{type(error).__name__}: {error}"
            emit({"event": "failed", "reason": "INTERNAL", "message": message})


def _claim_stdout() -> TextIO:
    """Keeps the standard output for events: whatever a library prints goes to the error output."""
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return events


def _lines_of_stdin() -> Iterator[str]:
    """Yields lines; a thread waits for the end of the input even while a run trains."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line.strip())
        os._exit(0)

    threading.Thread(target=read, name="parent watch", daemon=True).start()
    while True:
        yield lines.get()


if __name__ == "__main__":
    main()
