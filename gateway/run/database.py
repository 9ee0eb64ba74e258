"""The database of durable work: SQLite tuned for many small commits, or PostgreSQL as it is."""

from pathlib import Path
from typing import Any

import sqlalchemy as sa


def engine_of(database_url: str) -> sa.Engine | None:
    """Returns the engine of a SQLite file, whose folder is made; None for other databases.

    With a write-ahead log a commit costs no wait for the disk. A killed process loses nothing; a
    power cut may lose the newest steps, whose work is found in the object store and not repeated.
    """
    url = sa.make_url(database_url)
    if url.get_backend_name() != "sqlite":
        return None
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(url)

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
