"""The images of an output in a database of their own, so that a page of many costs what one of few
does.

The database is a temporary file without a name: it is gone with the process, however that ends.
"""

import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.cli.failures import CliError
from gateway.cli.review.log import Decision, Review

# Scores of which a high one is bad; of all others a low one is.
_HIGH_IS_BAD = {"unsafe_score"}
# What stands for "no score" in manifests.
_NONE = {"clip_score": -2.0, "unsafe_score": -1.0}
_ENDING = "_score"
_NEEDED = ("item_id", "sha256", "class_name", "label", "file_name")
_LAST = 1e300  # Images without a score come last.
_BATCH, _NUMBERS = 4096, 2**63
MOST_IMAGES = 200


@dataclass(frozen=True)
class Shown:
    """An image as the page lists it. `scores` are in order of their names; None is no score."""

    number: int
    item_id: str
    sha256: str
    class_number: int
    file_name: str
    decision: Decision
    scores: tuple[float | None, ...]


@dataclass(frozen=True)
class Query:
    """Which images are asked for: of a class (its number), on which this was decided, with a score
    from `least` to `most`. They come by class, with the worst of the score `score_number` first,
    after the image `after`.
    """

    class_number: int | None = None
    decision: Decision | None = None
    score_number: int = 0
    least: float | None = None
    most: float | None = None
    after: int | None = None
    count: int = 60


class Catalogue:
    """The images of a manifest, by their place in it, with what was decided on them."""

    def __init__(self, manifest: Path, review: Review) -> None:
        import pyarrow.parquet as pq

        with pq.ParquetFile(manifest) as file:
            names = file.schema_arrow.names
            _check(manifest, names)
            self.scores = tuple(sorted(one for one in names if one.endswith(_ENDING)))
            self.classes: tuple[str, ...] = _classes(file)
            self._numbers = {name: number for number, name in enumerate(self.classes)}
            self._lock = threading.Lock()
            self._database = sqlite3.connect("", check_same_thread=False, isolation_level=None)
            self._make_table()
            for batch in file.iter_batches(_BATCH, columns=[*_NEEDED, *self.scores]):
                self._add(batch.to_pylist(), review)
        self._index()
        self.counts = self._counted()

    def __len__(self) -> int:
        return sum(counts.total() for counts in self.counts)

    def images(self, query: Query) -> tuple[list[Shown], int]:
        """Returns some of the images that are asked for, and how many there are in all."""
        where, values = self._where(query)
        score = f"k{query.score_number}"
        total = self._all(f"SELECT COUNT(*) FROM images WHERE {where}", values)[0][0]
        if query.after is not None:
            where += (
                f" AND (class, {score}, id) > (SELECT class, {score}, id FROM images WHERE id = ?)"
            )
            values = [*values, query.after]
        rows = self._all(
            f"SELECT * FROM images WHERE {where} ORDER BY class, {score}, id LIMIT ?",
            [*values, min(query.count, MOST_IMAGES)],
        )
        return [self._shown(row) for row in rows], int(total)

    def image(self, number: int) -> Shown:
        """Returns an image. Raises KeyError if there is none of this number."""
        known = number < _NUMBERS  # What SQLite takes.
        rows = self._all("SELECT * FROM images WHERE id = ?", [number]) if known else []
        if not rows:
            raise KeyError(number)
        return self._shown(rows[0])

    def find(self, sha256: str) -> Shown | None:
        """Returns the image of a file's digest."""
        rows = self._all("SELECT * FROM images WHERE sha256 = ? ORDER BY id LIMIT 1", [sha256])
        return self._shown(rows[0]) if rows else None

    def decide(self, image: Shown, decision: Decision) -> None:
        """Notes a decision; equal files are one image."""
        with self._lock:
            rows = self._database.execute(
                "SELECT id, class, decision FROM images WHERE sha256 = ?", [image.sha256]
            ).fetchall()
            for number, class_number, before in rows:
                self._database.execute(
                    "UPDATE images SET decision = ? WHERE id = ?", [decision.value, number]
                )
                self.counts[class_number][Decision(before)] -= 1
                self.counts[class_number][decision] += 1

    def _where(self, query: Query) -> tuple[str, list[Any]]:
        parts, values = ["TRUE"], list[Any]()
        conditions: Mapping[str, Any] = {
            "class = ?": query.class_number,
            "decision = ?": query.decision and query.decision.value,
            f"s{query.score_number} >= ?": query.least,
            f"s{query.score_number} <= ?": query.most,
        }
        for condition, value in conditions.items():
            if value is not None:
                parts.append(condition)
                values.append(value)
        return " AND ".join(parts), values

    def _make_table(self) -> None:
        columns = "".join(f", k{n} REAL, s{n} REAL" for n in range(max(len(self.scores), 1)))
        self._database.execute(
            "CREATE TABLE images (id INTEGER PRIMARY KEY, item_id TEXT, sha256 TEXT, "
            f"class INTEGER, file_name TEXT, decision TEXT{columns})"
        )
        self._database.execute("BEGIN")

    def _add(self, rows: Sequence[Mapping[str, Any]], review: Review) -> None:
        self._database.executemany(
            f"INSERT INTO images VALUES (NULL{', ?' * (5 + 2 * max(len(self.scores), 1))})",
            ([*self._plain(row, review), *self._keys(row)] for row in rows),
        )

    def _plain(self, row: Mapping[str, Any], review: Review) -> Iterator[Any]:
        yield row["item_id"]
        yield row["sha256"]
        yield self._numbers[row["class_name"]]
        yield row["file_name"]
        yield review.decision_on(row["sha256"]).value

    def _keys(self, row: Mapping[str, Any]) -> Iterator[float | None]:
        """Yields what each score is sorted by, and the score; a manifest may have none at all."""
        for name in self.scores or ("",):
            score = row.get(name)
            if score is None or score != score or score == _NONE.get(name):  # NaN is none.
                yield from (_LAST, None)
            else:
                yield from (-score if name in _HIGH_IS_BAD else score, score)

    def _index(self) -> None:
        self._database.execute("COMMIT")
        self._database.execute("CREATE INDEX files ON images (sha256)")
        for number in range(max(len(self.scores), 1)):
            self._database.execute(f"CREATE INDEX by{number} ON images (class, k{number}, id)")

    def _counted(self) -> list[Counter[Decision]]:
        counts: list[Counter[Decision]] = [Counter() for _ in self.classes]
        sql = "SELECT class, decision, COUNT(*) FROM images GROUP BY class, decision"
        for number, decision, count in self._all(sql, []):
            counts[number][Decision(decision)] = count
        return counts

    def _all(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._database.execute(sql, values).fetchall()

    def _shown(self, row: Sequence[Any]) -> Shown:
        number, item_id, sha256, class_number, file_name, decision, *scores = row
        known = tuple(scores[1::2])[: len(self.scores)]
        return Shown(number, item_id, sha256, class_number, file_name, Decision(decision), known)


def _check(manifest: Path, names: Sequence[str]) -> None:
    for name in _NEEDED:
        if name not in names:
            raise CliError(
                f"{manifest} is no manifest of an output: it has no column {name}.",
                exit_code=3,
                remedy="Give the folder that was the --out of `variegate augment` or `merge`.",
                reason="NO_MANIFEST",
            )


def _classes(file: Any) -> tuple[str, ...]:
    """Returns the names of the classes in order of their labels."""
    labels: dict[str, int] = {}
    for batch in file.iter_batches(_BATCH, columns=["class_name", "label"]):
        pairs = zip(*(batch.column(at).to_pylist() for at in (0, 1)), strict=True)
        labels.update(pairs)
    return tuple(sorted(labels, key=lambda name: (labels[name], name)))
