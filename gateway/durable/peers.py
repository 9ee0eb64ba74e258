"""The gateways that share a database: one alone on SQLite, or several on PostgreSQL."""

import asyncio
import fcntl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import IO, Protocol

from servicekit.errors import Precondition

# What a subject's work has to say of its progress, for those that do not do it.
Describe = Callable[[str], bytes]


class Peers(Protocol):
    """What a gateway has to know of the others."""

    pause: float  # Seconds between looks at what became of others, and of one's own work.

    async def join(self, version: str) -> str:
        """Begins to live. Returns the id that this gateway's work is written down under."""

    async def kept(self) -> str:
        """Lives on, and returns once it does not any more, with the reason."""

    def holds(self) -> bool:
        """Says whether it still lives, without asking anybody."""

    async def leave(self) -> None:
        """Ends. Nothing of this gateway may run any more."""

    async def living(self) -> Mapping[str, str]:
        """Returns the version of each gateway that lives, by its id."""

    def claimed(self, subject: str) -> AbstractAsyncContextManager[None]:
        """Waits until no other gateway works on the subject; keeps the others out in the block."""

    async def note(self) -> None:
        """Tells the others how far one's own work is."""

    async def progress(self, subject: str) -> bytes | None:
        """Returns what was reported of a subject; None if only this process could know."""

    async def forget(self, subject: str) -> None:
        """Deletes what was told of a subject."""


class Alone:
    """A gateway that has its database for itself: a SQLite file that it locks."""

    pause = 3600.0

    def __init__(self, executor_id: str, file: Path | None) -> None:
        """`file` is that of the database; None has none."""
        self._executor_id, self._file = executor_id, file
        self._version = ""
        self._lock: IO[str] | None = None

    async def join(self, version: str) -> str:
        """Locks the database. Raises Precondition if another process has it."""
        self._version = version
        if self._file:
            self._lock = _locked(self._file)
        return self._executor_id

    async def kept(self) -> str:
        await asyncio.Event().wait()
        raise AssertionError("a lone gateway keeps its work")

    def holds(self) -> bool:
        return True

    async def leave(self) -> None:
        if self._lock:
            self._lock.close()
            self._lock = None

    async def living(self) -> Mapping[str, str]:
        return {self._executor_id: self._version}

    @asynccontextmanager
    async def claimed(self, subject: str) -> AsyncIterator[None]:
        yield

    async def note(self) -> None:
        pass

    async def progress(self, subject: str) -> bytes | None:
        return None

    async def forget(self, subject: str) -> None:
        pass


def _locked(database: Path) -> IO[str]:
    # Not the database itself: closing a file drops SQLite's own locks on it.
    file = database.with_name(f"{database.name}-gateway-lock").open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise Precondition(
            f"another gateway uses the database {database}; stop it, set GATEWAY_DATABASE_URL to "
            "another file, or to PostgreSQL, which several gateways can share",
            subject="GATEWAY_DATABASE_URL",
            reason="DATABASE_IN_USE",
        ) from None
    return file
