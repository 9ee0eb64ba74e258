"""Which process holds a state folder, what it runs, and where its services listen.

The process that starts the embedded system publishes it: `variegate up`, for all commands
beside it, and every other command for `status` and `cancel` only, since such a system ends with
its command.
"""

import fcntl
import json
import os
import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from gateway.cli.failures import CliError

# The embedded system holds a lock on this file while it runs, and writes its process id into it.
_LOCK = "lock"
_FACTS = "system.json"


@dataclass(frozen=True)
class Running:
    """A running system. `targets` maps service to HOST:PORT; `store` is "" for its own folder.

    `command` is what was typed to start it, at `started` (seconds since 1970). `is_shared` if
    other commands may give it work. `variables` are the settings that it was started with, as
    variables of the environment.
    """

    pid: int
    targets: Mapping[str, str]
    store: str = ""
    is_shared: bool = False
    command: str = ""
    started: float = field(default_factory=time.time)
    variables: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def published(
    state: Path,
    targets: Mapping[str, str],
    store: str = "",
    *,
    is_shared: bool,
    variables: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[None]:
    """Tells other commands of the system of this process while the block runs."""
    command = shlex.join(["variegate", *sys.argv[1:]])
    running = Running(os.getpid(), dict(targets), store, is_shared, command)
    running = replace(running, variables=dict(variables))
    staged = state / f"{_FACTS}.new"
    staged.write_text(json.dumps(asdict(running)))
    staged.replace(state / _FACTS)
    try:
        yield
    finally:
        (state / _FACTS).unlink(missing_ok=True)


def running_in(state: Path) -> Running | None:
    """The system that was published and still lives; leftovers of a killed one count not."""
    try:
        running = Running(**json.loads((state / _FACTS).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return running if holder_of(state) == str(running.pid) else None


def holder_of(state: Path) -> str:
    """The process id of the system that holds the folder, published or not; "" if none does."""
    try:
        with (state / _LOCK).open("r+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return lock.read().strip()
    except OSError:
        pass
    return ""


def make_lock(state: Path) -> None:
    """Makes the file that the system locks. Raises OSError where it could not be locked."""
    (state / _LOCK).open("a").close()


def is_state(folder: Path) -> bool:
    """Says whether a system has kept its work in the folder."""
    return (folder / _LOCK).is_file()


@contextmanager
def held(state: Path) -> Iterator[None]:
    """Keeps every system out of the folder while the block runs.

    Raises CliError if one is in it.
    """
    with (state / _LOCK).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CliError(
                f"The state folder {state} is in use by process {holder_of(state) or 'unknown'}.",
                exit_code=3,
                remedy="Wait for it (`variegate status` shows how far it is), or stop it.",
                reason="STATE_IN_USE",
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
