"""Manifests as people's tools read them, a row group at a time, and rows picked out of them."""

import io
from collections.abc import Collection, Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

# Rows that are read before those that are not wanted are dropped.
_READ = 32 * 1024


class Manifest:
    """A parquet file in memory, of which no more than one row group is unpacked."""

    def __init__(self, data: bytes) -> None:
        self._file = pq.ParquetFile(io.BytesIO(data))

    def __len__(self) -> int:
        return int(self._file.metadata.num_rows)

    def groups(self, *columns: str) -> Iterator[pa.Table]:
        """Yields some columns, or all, of each row group; of a file without any, none of a row."""
        wanted = list(columns) or None
        count = self._file.num_row_groups
        if not count:
            yield self._file.read(wanted)
        for number in range(count):
            yield self._file.read_row_group(number, wanted)

    def with_ids(self, ids: Collection[str], *columns: str) -> pa.Table:
        """Returns the rows with these item ids."""
        wanted = pa.array(sorted(ids), pa.string())
        groups = self.groups(*columns)
        return pa.concat_tables(
            [one.filter(pc.is_in(one.column("item_id"), value_set=wanted)) for one in groups]
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


def _lowest(table: pa.Table, count: int) -> pa.Table:
    table = table.sort_by([("class_name", "ascending"), ("item_id", "ascending")])
    codes = table.column("class_name").combine_chunks().dictionary_encode().indices.to_numpy()
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    ranks = np.arange(len(codes)) - np.repeat(starts, np.diff(starts, append=len(codes)))
    return table.filter(pa.array(ranks < count))
