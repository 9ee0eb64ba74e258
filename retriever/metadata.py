"""The metadata of an index, mapped from a file: fetched by row, filtered by column."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from retriever.index.base import Rows
from retriever.tables import NUMBER
from servicekit.errors import InvalidArgument

# Rows of a record batch, of a metadata object and of a vector object.
PART_ROWS = 65_536


@dataclass(frozen=True)
class Between:
    """Numbers from `least` to `most`, both inside; None is open."""

    least: float | None
    most: float | None


@dataclass(frozen=True)
class OneOf:
    """Texts that are equal to one of these."""

    texts: tuple[str, ...]


@dataclass(frozen=True)
class Containing:
    """Texts with this in them, whatever the case."""

    text: str


Condition = Between | OneOf | Containing


@dataclass(frozen=True)
class Filter:
    """A condition on a column; rows without a value do not meet it. `field` is for errors."""

    column: str
    condition: Condition
    field: str = "filters"


class Metadata:
    """Rows of an Arrow file, in the order of the vectors. Nothing is read before it is needed.

    All record batches but the last have PART_ROWS rows: whole tables of many batches are taken
    from 37 times as slowly.
    """

    def __init__(self, path: Path, columns: dict[str, str]) -> None:
        self._table: Any = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        self.count, self._columns = self._table.num_rows, columns

    def take(self, rows: Sequence[int] | Rows, columns: Sequence[str]) -> dict[str, list[object]]:
        """Returns the values of some columns at `rows`, in their order."""
        wanted = np.asarray(rows, np.int64)
        order = np.argsort(wanted, kind="stable")
        parts, starts = np.unique(wanted[order] // PART_ROWS, return_index=True)
        taken = self._table.select(list(columns))
        batches = [taken.slice(part * PART_ROWS, PART_ROWS).to_batches()[0] for part in parts]
        groups = np.split(wanted[order] % PART_ROWS, starts[1:]) if len(parts) else []
        found = [batch.take(pa.array(group)) for batch, group in zip(batches, groups, strict=True)]
        back = np.argsort(order, kind="stable").tolist()
        values = {name: [v for batch in found for v in batch[name].to_pylist()] for name in columns}
        return {name: [column[row] for row in back] for name, column in values.items()}

    def matching(self, filters: Sequence[Filter]) -> Rows | None:
        """Returns the rows that meet all filters, ascending; None if there are no filters.

        Raises InvalidArgument for a column that the pool lacks, naming those it has, and for a
        condition that its kind of values cannot meet.
        """
        mask = None
        for one in filters:
            met = self._mask(one)
            mask = met if mask is None else mask & met
        return None if mask is None else np.flatnonzero(mask)

    def _mask(self, one: Filter) -> NDArray[np.bool_]:
        self._check(one)
        column = self._table[one.column]
        met: Any = pc.fill_null(_met(column, one.condition), False)
        return np.asarray(met.combine_chunks().to_numpy(zero_copy_only=False), bool)

    def _check(self, one: Filter) -> None:
        kind = self._columns.get(one.column)
        if kind is None:
            names = ", ".join(sorted(self._columns))
            raise InvalidArgument(
                f"the pool has no column {one.column!r} to filter on; it has {names}",
                field=f"{one.field}.column",
                reason="UNKNOWN_COLUMN",
                metadata={"columns": names},
            )
        if isinstance(one.condition, Between) != (kind == NUMBER):
            fitting = "between" if kind == NUMBER else "one_of or containing"
            raise InvalidArgument(
                f"the column {one.column!r} holds {kind}s; filter it with {fitting}",
                field=one.field,
                reason="COLUMN_KIND",
            )


def _met(column: Any, condition: Condition) -> Any:
    match condition:
        case Between(least, most):
            low = pa.scalar(-np.inf if least is None else least)
            high = pa.scalar(np.inf if most is None else most)
            return pc.and_(pc.greater_equal(column, low), pc.less_equal(column, high))
        case OneOf(texts):
            return pc.is_in(column, value_set=pa.array(texts, pa.string()))
        case Containing(text):
            return pc.match_substring(column, text, ignore_case=True)
