"""Where a system that `variegate up` left running listens, for the commands beside it."""

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

# The embedded system holds a lock on this file while it runs, and writes its process id into it.
_LOCK = "lock"
_FACTS = "system.json"


@dataclass(frozen=True)
class Running:
    """A running system. `targets` maps service to HOST:PORT; `store` is "" for its own folder."""

    pid: int
    targets: Mapping[str, str]
    store: str = ""


def publish(state: Path, targets: Mapping[str, str], store: str = "") -> None:
    """Tells other commands where the system of this process listens and keeps its objects."""
    staged = state / f"{_FACTS}.new"
    staged.write_text(json.dumps(asdict(Running(os.getpid(), dict(targets), store))))
    staged.replace(state / _FACTS)


def withdraw(state: Path) -> None:
    """Takes back what `publish` told."""
    (state / _FACTS).unlink(missing_ok=True)


def running_in(state: Path) -> Running | None:
    """The system that was published and still lives; leftovers of a killed one count not."""
    try:
        running = Running(**json.loads((state / _FACTS).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return running if _holder(state / _LOCK) == str(running.pid) else None


def _holder(path: Path) -> str:
    """The process id in a lock file that is held; "" if nobody holds it."""
    if not path.exists():
        return ""
    with path.open("r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return lock.read().strip()
    return ""
