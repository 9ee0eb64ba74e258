"""Objects and what is named, in a database that lies on the disk and goes with the process."""

import sqlite3
from collections.abc import Iterable, Iterator

from gateway.cli.references import folders_of
from servicekit.storage import Entry

_TABLES = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -65536;
CREATE TABLE object (
    key TEXT PRIMARY KEY, kind INTEGER, size INTEGER, modified REAL
) WITHOUT ROWID;
CREATE TABLE named (key TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE unread (key TEXT PRIMARY KEY) WITHOUT ROWID;
"""
_ROWS = 4096
# That of an object of no kind of ours.
UNKNOWN = -1


class Ledger:
    """What there is and what is needed. 64 MiB of it are in memory, however much there is."""

    def __init__(self) -> None:
        # SQLite makes a file without a name for it, of which nothing is left whatever happens.
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.executescript(_TABLES)

    def add(self, entries: Iterable[tuple[Entry, int]]) -> None:
        """Notes objects, each with the number of its kind; one that is known is replaced."""
        rows = ((one.key, kind, one.size, one.modified) for one, kind in entries)
        self._insert("INSERT OR REPLACE INTO object VALUES (?, ?, ?, ?)", rows)

    def need(self, keys: Iterable[str]) -> None:
        """Notes keys, or names of folders, that are needed; each is to be read once."""
        for key in keys:
            if self._database.execute("INSERT OR IGNORE INTO named VALUES (?)", (key,)).rowcount:
                self._database.execute("INSERT OR IGNORE INTO unread VALUES (?)", (key,))

    def to_read(self) -> Iterator[str]:
        """Yields what is needed and was not read yet, until nothing is left."""
        while rows := self._database.execute(f"SELECT key FROM unread LIMIT {_ROWS}").fetchall():
            for (key,) in rows:
                self._database.execute("DELETE FROM unread WHERE key = ?", (key,))
                yield key

    def inside(self, folder: str) -> Iterator[str]:
        """Yields the known keys in a folder."""
        query = "SELECT key FROM object WHERE key >= ? AND key < ?"
        yield from (row[0] for row in self._database.execute(query, (f"{folder}/", f"{folder}0")))

    def has(self, key: str) -> bool:
        """Says whether there is an object."""
        return bool(self._database.execute("SELECT 1 FROM object WHERE key = ?", (key,)).fetchone())

    def is_needed(self, key: str) -> bool:
        """Says whether an object, or a folder that it lies in, is needed."""
        query = "SELECT 1 FROM named WHERE key = ?"
        names = (key, *folders_of(key))
        return any(self._database.execute(query, (name,)).fetchone() for name in names)

    def missing(self) -> Iterator[str]:
        """Yields what is needed and is neither an object nor a folder of objects, in order."""
        query = (
            "SELECT key FROM named WHERE NOT EXISTS (SELECT 1 FROM object WHERE key = named.key)"
            " AND NOT EXISTS (SELECT 1 FROM object"
            " WHERE object.key >= named.key || '/' AND object.key < named.key || '0')"
        )
        yield from (row[0] for row in self._database.execute(query))

    def objects(self) -> Iterator[tuple[Entry, int]]:
        """Yields all objects in the order of their keys."""
        for key, kind, size, modified in self._database.execute(
            "SELECT key, kind, size, modified FROM object ORDER BY key"
        ):
            yield Entry(key, size, modified), kind

    def close(self) -> None:
        """Frees the disk."""
        self._database.close()

    def _insert(self, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
        self._database.execute("BEGIN")
        self._database.executemany(statement, rows)
        self._database.execute("COMMIT")
