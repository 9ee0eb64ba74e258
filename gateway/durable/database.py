"""The database of durable work: SQLite tuned for many small commits, or PostgreSQL as it is."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from servicekit.errors import Exhausted, Precondition, ServiceError, Unavailable

_SUBJECT = "GATEWAY_DATABASE_URL"
# SQLite's primary result codes (sqlite.org/rescode.html) and PostgreSQL's classes of SQLSTATE.
_FULL = {"SQLITE_FULL", "53100"}
_PASSING = {"SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL", "08", "57", "53", "40", ""}
_REMEDIES = {
    "SQLITE_READONLY": "make the file and its folder writable",
    "25006": "connect to a server that can be written to",
    "SQLITE_IOERR": "check the disk",
    "58": "check the server's disk",
    "SQLITE_CORRUPT": "move the file away: what was made is in the store and is found again",
    "SQLITE_NOTADB": "move the file away: what was made is in the store and is found again",
}


def sqlite_url(file: Path) -> str:
    """Returns the URL of a SQLite file. Its path is percent-encoded, as in any URL."""
    return f"sqlite:///{quote(os.fsencode(file.absolute()))}"


def engine_of(database_url: str) -> sa.Engine | None:
    """Returns the engine of a SQLite file, whose folder is made; None for other databases.

    With a write-ahead log a commit costs no wait for the disk. A killed process loses nothing; a
    power cut may lose the newest steps, whose work is found in the object store and not repeated.
    DBOS is given the engine and not the URL, which it would read by rules of its own.
    """
    url = sa.make_url(database_url)
    if url.get_backend_name() != "sqlite":
        return None
    engine = sa.create_engine(url)
    if url.database:
        # SQLAlchemy cannot write down names that are not UTF-8, so it is not told the file's.
        file = file_of(database_url)
        file.parent.mkdir(parents=True, exist_ok=True)

        @sa.event.listens_for(engine, "do_connect")
        def name(dialect: Any, record: Any, arguments: list[Any], options: Any) -> None:
            arguments[0] = file

    @sa.event.listens_for(engine, "connect")
    def tune(connection: Any, record: Any) -> None:
        # Writers take turns from the start of a transaction, as DBOS expects of its own engine.
        connection.isolation_level = "IMMEDIATE"
        for pragma in (
            "busy_timeout=30000",
            "foreign_keys=ON",
            "journal_mode=WAL",
            "synchronous=NORMAL",
        ):
            connection.execute(f"PRAGMA {pragma}")

    return engine


def check(engine: sa.Engine) -> None:
    """Opens and reads a SQLite database. Raises SQLAlchemyError if it is damaged or is none."""
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT count(*) FROM sqlite_master"))


def failure_of(error: SQLAlchemyError, database_url: str = "") -> ServiceError:
    """Returns what a failure of the database means to people, with what to do about it."""
    why, codes = str(error).splitlines()[0], _codes(error)
    if _FULL & codes:
        return Exhausted(
            f"the gateway's database has no space left ({why}); free some space and run the same "
            "command again, nothing that was finished is lost",
            reason="DATABASE_FULL",
            retry_after=30.0,
        )
    if _PASSING & codes:
        return Unavailable(
            f"the gateway's database does not answer ({why}); run the same command again once it "
            "does, nothing that was finished is lost",
            reason="DATABASE_UNREACHABLE",
        )
    remedies = [_REMEDIES[code] for code in sorted(codes) if code in _REMEDIES]
    remedy = remedies[0] if remedies else f"correct {_SUBJECT}, or start its server"
    if database_url.startswith("sqlite:"):
        remedy = remedy.replace("the file", f"the file {file_of(database_url)}", 1)
    return Precondition(
        f"the gateway's database cannot be used ({why}); {remedy}, and run the same command again, "
        "nothing that was finished is lost",
        subject=_SUBJECT,
        reason="DATABASE_UNUSABLE",
    )


def file_of(database_url: str) -> Path:
    """Returns the file of a SQLite URL."""
    return Path(unquote(urlsplit(database_url).path[1:], errors="surrogateescape"))


@contextmanager
def told() -> Iterator[None]:
    """Raises failures of the database as errors for people."""
    try:
        yield
    except SQLAlchemyError as error:
        raise failure_of(error) from error


def _codes(error: SQLAlchemyError) -> set[str]:
    """Returns the codes of an error, and its class; "" for a connection that was lost."""
    cause = error.orig if isinstance(error, DBAPIError) else None
    if name := getattr(cause, "sqlite_errorname", None):
        # An extended code begins with its primary one, as SQLITE_IOERR_WRITE.
        return {str(name), "_".join(str(name).split("_")[:2])}
    if state := getattr(cause, "sqlstate", None):
        return {str(state), str(state)[:2]}
    lost = isinstance(error, sa.exc.TimeoutError) or (
        isinstance(error, sa.exc.OperationalError) or getattr(error, "connection_invalidated", None)
    )
    return {""} if lost else set()
