"""One trial of the images at a time: two would take each other's pods, and podman hangs."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Of the machine, as podman's pods are, and not of a checkout. It ends with its holder, however.
LOCK = Path("/run/variegate-trial.lock")


@contextmanager
def alone(file: Path = LOCK) -> Iterator[None]:
    """Keeps other trials away. Raises SystemExit at once if there is one, with who runs it."""
    with file.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise SystemExit(
                f"another trial of the images is running: {lock.read()}; wait for its end"
            ) from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()} in {Path.cwd()}")
        lock.flush()
        yield
