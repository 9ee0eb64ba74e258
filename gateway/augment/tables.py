"""Manifests as people's tools read them, a row group at a time, and rows picked out of them."""

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import IO, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from servicekit.storage import ObjectFile, ObjectStore, to_key

# Says which of the rows are chosen, given a column of theirs.
Choose = Callable[["pa.ChunkedArray[Any]"], NDArray[np.int64]]

# Rows that are read before those that are not wanted are dropped.
_READ = 32 * 1024


class Manifest:
    """A parquet file in a store, of which no more is read than some columns of one row group."""

    def __init__(self, store: ObjectStore, uri: str) -> None:
        """Raises NotFound."""
        file = ObjectFile(store, to_key(uri))
        # Neighbouring columns are read together: a read is a request to an S3 server.
        self._file = pq.ParquetFile(cast(IO[bytes], file), pre_buffer=True)

    def __len__(self) -> int:
        return int(self._file.metadata.num_rows)

    @property
    def column_names(self) -> list[str]:
        """What its columns are called."""
        return list(self._file.schema_arrow.names)

    def groups(self, *columns: str) -> Iterator[pa.Table]:
        """Yields some columns, or all, of each row group; of a file without any, none of a row."""
        wanted = list(columns) or None
        count = self._file.num_row_groups
        if not count:
            yield self._file.read(wanted)
        for number in range(count):
            yield self._file.read_row_group(number, wanted)

    def chosen(self, column: str, choose: Choose, *columns: str) -> pa.Table:
        """Returns some columns, or all, of the rows that `choose` takes.

        It is given `column` of each row group, and of those of which it takes nothing no more is
        read.
        """
        wanted, schema = list(columns) or None, self._file.schema_arrow
        # As every group has them: in the order of the file.
        names = [name for name in schema.names if not columns or name in columns]
        found = [schema.empty_table().select(names)]
        for number in range(self._file.num_row_groups):
            places = choose(self._file.read_row_group(number, [column]).column(column))
            if len(places):
                found.append(self._file.read_row_group(number, wanted).take(places))
        return pa.concat_tables(found)

    def with_ids(self, ids: Collection[str], *columns: str) -> pa.Table:
        """Returns some columns, or all, of the rows with these item ids."""
        wanted = pa.array(sorted(ids), pa.string())
        return self.chosen(
            "item_id", lambda one: np.flatnonzero(pc.is_in(one, value_set=wanted)), *columns
        )


def lowest_of_classes(tables: Iterable[pa.Table], count: int) -> pa.Table | None:
    """Returns `count` rows of each class, those with the lowest ids, by class and id.

    None if there is no table. No more is held than these and some thousands of rows.
    """
    kept: list[pa.Table] = []
    for table in tables:
        kept.append(table)
        if sum(map(len, kept[1:])) >= _READ:
            kept = [_lowest(pa.concat_tables(kept), count)]
    return _lowest(pa.concat_tables(kept), count) if kept else None


def lowest(tables: Iterable[pa.Table], count: int) -> pa.Table:
    """Returns the `count` rows with the lowest ids of at least one table, in their order."""
    kept: list[pa.Table] = []
    for table in tables:
        kept.append(table)
        if sum(map(len, kept[1:])) >= _READ:
            kept = [pa.concat_tables(kept).sort_by("item_id").slice(0, count)]
    return pa.concat_tables(kept).sort_by("item_id").slice(0, count)


def _lowest(table: pa.Table, count: int) -> pa.Table:
    table = table.sort_by([("class_name", "ascending"), ("item_id", "ascending")])
    codes = table.column("class_name").combine_chunks().dictionary_encode().indices.to_numpy()
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    ranks = np.arange(len(codes)) - np.repeat(starts, np.diff(starts, append=len(codes)))
    return table.filter(pa.array(ranks < count))
