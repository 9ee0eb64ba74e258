"""The database of durable work: SQLite tuned for many small commits, or PostgreSQL as it is."""

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import sqlalchemy as sa


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
        file = Path(unquote(urlsplit(database_url).path[1:], errors="surrogateescape"))
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
