"""What several gateways agree on in their PostgreSQL: who lives, and who works on what.

A gateway lives as long as it has a row in `lease`. It renews the row; any gateway that finds one
that has run out deletes it, and a row that is gone cannot be renewed: no gateway comes back from
the dead under the same id, so a decision about a dead one stays right, however late it is made.
Only the database's clock counts, and each statement is a transaction of its own, which a process
that is frozen in the middle cannot hold open.
"""

from typing import Any

import sqlalchemy as sa

# Gateways that start together would make the tables twice; the lock lasts as long as the statement.
_TABLES = """
SELECT pg_advisory_xact_lock(8390127455);
CREATE SCHEMA IF NOT EXISTS variegate;
CREATE TABLE IF NOT EXISTS variegate.lease (
    executor_id text PRIMARY KEY,
    version text NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE TABLE IF NOT EXISTS variegate.work (
    subject text PRIMARY KEY,
    executor_id text,
    claim text,
    progress bytea NOT NULL DEFAULT ''
);
"""
_UNTIL = "clock_timestamp() + make_interval(secs => :seconds)"
_JOIN = f"INSERT INTO variegate.lease VALUES (:me, :version, {_UNTIL})"
_RENEW = f"""
UPDATE variegate.lease SET expires_at = {_UNTIL}
WHERE executor_id = :me AND expires_at > clock_timestamp() RETURNING true"""
_LEAVE = "DELETE FROM variegate.lease WHERE executor_id = :me"
_BURY = """
DELETE FROM variegate.lease WHERE executor_id IN (
    SELECT executor_id FROM variegate.lease WHERE expires_at <= clock_timestamp()
    FOR UPDATE SKIP LOCKED
) RETURNING executor_id"""
_LIVING = "SELECT executor_id, version FROM variegate.lease"
_CLAIM = """
INSERT INTO variegate.work AS held (subject, executor_id, claim)
SELECT :subject, executor_id, :claim FROM variegate.lease
WHERE executor_id = :me AND expires_at > clock_timestamp()
ON CONFLICT (subject) DO UPDATE
SET executor_id = excluded.executor_id, claim = excluded.claim, progress = ''
WHERE held.claim IS NULL
    OR NOT EXISTS (SELECT FROM variegate.lease WHERE executor_id = held.executor_id)
RETURNING true"""
_NOTE = "UPDATE variegate.work SET progress = :progress WHERE claim = :claim"
_RELEASE = "UPDATE variegate.work SET claim = NULL, progress = :progress WHERE claim = :claim"
_PROGRESS = "SELECT progress FROM variegate.work WHERE subject = :subject"
_FORGET = "DELETE FROM variegate.work WHERE subject = :subject AND claim IS NULL"
# Seconds.
_CONNECTING = 5


class Fleet:
    """Synchronous and thread-safe. Raises SQLAlchemyError."""

    def __init__(self, database_url: str, silence: float) -> None:
        """A server that is silent for `silence` seconds is given up."""
        url = sa.make_url(database_url).set(drivername="postgresql+psycopg")
        limits = {"connect_timeout": _CONNECTING, "tcp_user_timeout": round(silence * 1000)}
        self._engine = sa.create_engine(
            url,
            isolation_level="AUTOCOMMIT",
            connect_args={key: value for key, value in limits.items() if key not in url.query},
        )

    def make_tables(self) -> None:
        """Makes what is not there yet."""
        with self._engine.connect() as connection:
            connection.exec_driver_sql(_TABLES)

    def join(self, me: str, version: str, seconds: float) -> None:
        """Begins to live."""
        self._run(_JOIN, me=me, version=version, seconds=seconds)

    def renew(self, me: str, seconds: float) -> bool:
        """Lives on; says whether it may."""
        return bool(self._run(_RENEW, me=me, seconds=seconds))

    def leave(self, me: str) -> None:
        """Ends, so that no gateway waits for it."""
        self._run(_LEAVE, me=me)

    def bury(self) -> list[str]:
        """Ends those that have not renewed their lease in time, and returns them."""
        return [row[0] for row in self._run(_BURY)]

    def living(self) -> dict[str, str]:
        """Returns the version of each gateway that lives, by its id."""
        return {row[0]: row[1] for row in self._run(_LIVING)}

    def claim(self, me: str, subject: str, claim: str) -> bool:
        """Says whether the work on a subject is this gateway's now, and no other's.

        `claim` is a text that is used once: who holds it is asked for under that.
        """
        return bool(self._run(_CLAIM, me=me, subject=subject, claim=claim))

    def note(self, claim: str, progress: bytes) -> None:
        """Writes down how far the work is."""
        self._run(_NOTE, claim=claim, progress=progress)

    def release(self, claim: str, progress: bytes) -> None:
        """Lets others work on the subject, and keeps its last progress. May be tried again."""
        self._run(_RELEASE, claim=claim, progress=progress)

    def progress(self, subject: str) -> bytes:
        """Returns the progress of a subject, wherever it is worked on; nothing if not known."""
        return b"".join(bytes(row[0]) for row in self._run(_PROGRESS, subject=subject))

    def forget(self, subject: str) -> None:
        """Deletes what is recorded about work that no gateway does."""
        self._run(_FORGET, subject=subject)

    def close(self) -> None:
        """Closes the connections."""
        self._engine.dispose()

    def _run(self, statement: str, **values: Any) -> list[Any]:
        with self._engine.connect() as connection:
            result = connection.execute(sa.text(statement), values)
            return list(result.all()) if result.returns_rows else []
