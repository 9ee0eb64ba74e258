"""Rows of a table in the object store, some thousands in an object, and their merge in order.

A part belongs to a run: the parts of one run follow each other in the order of the rows, as those
of one round of attempts do. So a merge reads one part of every run at a time, and no more is held
for many rows than for few.
"""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gateway.augment.choice import PLACE, Choice
from gateway.augment.rows import GROUP, table_of
from gateway.plan import Places
from servicekit.storage import ObjectStore

# What rows are sorted by, before their id. "_index" is in the parts only.
_ORDER = ("label", "_index", "attempt")
_SORTED: list[tuple[str, Literal["ascending", "descending"]]] = [
    (key, "ascending") for key in (*_ORDER, "item_id")
]

Place = tuple[int, int, int]


@dataclass(frozen=True)
class Source:
    """A folder of the store with the rows of one method.

    `places` says where its images stand among those of all methods; None where it makes all.
    `choice` says which are kept; None where all are.
    """

    folder: str
    places: Places | None = None
    choice: Choice | None = None


class Parts:
    """The parts of one table below folders of the store. Synchronous, as the store is."""

    def __init__(
        self,
        store: ObjectStore,
        sources: Sequence[Source],
        table: str,
        schema: pa.Schema,
        choose: Callable[[Choice, pa.Table], pa.Table] | None = None,
    ) -> None:
        """Parts are written below the first of `sources`, and read from all.

        `choose` takes the rows that a source's choice is about.
        """
        self._choose = choose
        self._store, self._sources, self._ending = store, sources, f".{table}.parquet"
        self._written = schema
        self._schema = schema.append(pa.field("_index", pa.int64()))

    def put(self, run: int, number: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Writes a part of a run; none if there are no rows. They have an "_index" as well."""
        if not rows:
            return
        buffer = io.BytesIO()
        table = _sorted(table_of(rows, self._schema))
        pq.write_table(table, buffer, compression="zstd")
        key = f"{self._sources[0].folder}/{run}/{number:06}{self._ending}"
        self._store.put(key, buffer.getvalue(), overwrite=True)

    def tables(self, *columns: str) -> Iterator[pa.Table]:
        """Yields some columns of every part."""
        for source in self._sources:
            chosen = self._choose is not None and source.choice is not None
            needed = [*columns, *(name for name in PLACE if name not in columns)]
            for key in (key for keys in self._runs(source.folder) for key in keys):
                table = self._read(key, needed if chosen else columns)
                yield self._chosen(source, table).select(list(columns))

    def merged(self) -> Iterator[pa.Table]:
        """Yields all rows in order, GROUP at a time."""
        heads = [
            _Head(filter(len, map(partial(self._placed, source), keys)))
            for source in self._sources
            for keys in self._runs(source.folder)
        ]
        pending: list[pa.Table] = []
        for table in _merged(heads):
            pending.append(table.select(self._written.names))
            del table  # Only the caller holds a group while it is written.
            while sum(map(len, pending)) >= GROUP:
                rows = pa.concat_tables(pending)
                pending = [rows.slice(GROUP)]
                group = [rows.slice(0, GROUP).combine_chunks()]
                del rows
                yield group.pop()
        if sum(map(len, pending)):
            yield pa.concat_tables(pending).combine_chunks()

    def _runs(self, folder: str) -> list[list[str]]:
        """Returns the keys of the parts of every run below a folder, in order."""
        runs: dict[int, list[str]] = {}
        for key in self._store.list(f"{folder}/"):
            if key.endswith(self._ending):
                runs.setdefault(int(key.split("/")[-2]), []).append(key)
        return [runs[number] for number in sorted(runs)]

    def _placed(self, source: Source, key: str) -> pa.Table:
        """Returns the rows of a part with their places among those of all methods."""
        table = self._chosen(source, self._read(key))
        if source.places is None:
            return table
        labels, numbers = (table.column(name).to_numpy() for name in _ORDER[:2])
        places = pa.array(source.places(labels, numbers), pa.int64())
        return table.set_column(table.schema.get_field_index("_index"), "_index", places)

    def _chosen(self, source: Source, table: pa.Table) -> pa.Table:
        if self._choose is None or source.choice is None:
            return table
        return self._choose(source.choice, table)

    def _read(self, key: str, columns: Sequence[str] = ()) -> pa.Table:
        data = io.BytesIO(self._store.get(key))
        return pq.read_table(data, columns=list(columns) or None)


class _Head:
    """The rows of a run that were read and not taken yet, which begin those that are left."""

    def __init__(self, tables: Iterator[pa.Table]) -> None:
        self._tables, self.is_whole = tables, False
        self._rows: pa.Table | None = None
        self.extend()

    def extend(self) -> None:
        """Reads one more part."""
        table = next(self._tables, None)
        if table is None:
            self.is_whole = True
        else:
            self._rows = pa.concat_tables([self._rows, table]) if self._rows else table

    def last(self) -> Place:
        """Returns the place of the last row that was read; further rows may have it, too."""
        assert self._rows is not None
        row = self._rows.slice(len(self._rows) - 1)
        label, index, attempt = (int(row.column(name)[0].as_py()) for name in _ORDER)
        return label, index, attempt

    def take(self, end: Place | None) -> pa.Table:
        """Returns the rows before a place, or all, and keeps the others."""
        assert self._rows is not None
        rows = self._rows
        count = len(rows) if end is None else int(_before(rows, end).sum())
        self._rows = rows.slice(count)
        return rows.slice(0, count)

    @property
    def is_empty(self) -> bool:
        return self._rows is None or not len(self._rows)


def _merged(heads: list[_Head]) -> Iterator[pa.Table]:
    heads = [head for head in heads if not head.is_whole or not head.is_empty]
    while heads:
        # What is not read yet comes at these places at the earliest.
        ends = [head.last() for head in heads if not head.is_whole]
        end = min(ends, default=None)
        taken = [head.take(end) for head in heads]
        if any(map(len, taken)):
            yield _sorted(pa.concat_tables(taken))
        for head in heads:
            if not head.is_whole and head.last() == end:
                head.extend()
        heads = [head for head in heads if not head.is_whole or not head.is_empty]


def _before(rows: pa.Table, end: Place) -> NDArray[np.bool_]:
    """Says for each row whether it comes before a place."""
    columns = [rows.column(name).to_numpy() for name in _ORDER]
    (label, index, attempt), (last, i, a) = columns, end
    later = (index == i) & (attempt < a)
    before: NDArray[np.bool_] = (label < last) | ((label == last) & ((index < i) | later))
    return before


def _sorted(table: pa.Table) -> pa.Table:
    return table.take(pc.sort_indices(table, sort_keys=_SORTED))
