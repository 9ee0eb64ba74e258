"""More made than wanted: of each class the best are kept, by a named score.

Nothing of it is written down: a choice follows from the rows of what was accepted, in the store.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gateway.digests import canonical

# What images can be chosen by, a column of their rows, and whether more of it is better.
SCORES: Mapping[str, bool] = {"clip_score": True, "unsafe_score": False}
# The columns that a choice needs to know the row of an image.
PLACE = ("label", "_index")


@dataclass(frozen=True)
class ClassRanks:
    """The accepted images of a class by number, sorted [n], with the rank of each, 1 the best."""

    numbers: NDArray[np.int64]
    ranks: NDArray[np.int64]
    wanted: int

    @property
    def is_kept(self) -> NDArray[np.bool_]:
        """Says of each whether it is kept."""
        kept: NDArray[np.bool_] = self.ranks <= self.wanted
        return kept


@dataclass(frozen=True)
class Choice:
    """Which images of one method are kept."""

    score: str
    classes: Mapping[int, ClassRanks]

    @classmethod
    def of(cls, tables: Iterable[pa.Table], score: str, wanted: Mapping[int, int]) -> "Choice":
        """Chooses by tables of PLACE and the score; `wanted` is how many to keep, by label.

        Of equal scores the image with the lower number is better.
        """
        empty = pa.table({name: np.empty(0) for name in (*PLACE, score)})
        parts = [table.select((*PLACE, score)) for table in tables]
        whole = pa.concat_tables(parts) if parts else empty
        labels, numbers, scores = (whole.column(name).to_numpy() for name in (*PLACE, score))
        sign = -1 if SCORES[score] else 1
        found = {}
        by_label = np.argsort(labels, kind="stable")
        names, starts = np.unique(labels[by_label], return_index=True)
        for label, mine in zip(names.astype(int), np.split(by_label, starts[1:]), strict=False):
            own, values = numbers[mine].astype(np.int64), scores[mine]
            order = np.lexsort((own, sign * values))
            ranks = np.empty(len(mine), np.int64)
            ranks[order] = np.arange(1, len(mine) + 1)
            place = np.argsort(own)
            found[int(label)] = ClassRanks(own[place], ranks[place], wanted[label])
        return cls(score, found)

    def kept(self, table: pa.Table) -> pa.Table:
        """Returns the rows of images that are kept, numbered anew from 0 in each class."""
        return self._part(table, kept=True)

    def left(self, table: pa.Table) -> pa.Table:
        """Returns the rows of those that are not, numbered behind those that are."""
        return self._part(table, kept=False)

    def _part(self, table: pa.Table, *, kept: bool) -> pa.Table:
        labels, numbers = (table.column(name).to_numpy() for name in PLACE)
        taken = np.zeros(len(labels), bool)
        again, ranks = np.zeros(len(labels), np.int64), np.zeros(len(labels), np.int64)
        for label in np.unique(labels).tolist():
            mine, one = np.flatnonzero(labels == label), self.classes[label]
            at = np.searchsorted(one.numbers, numbers[mine])
            chosen = one.is_kept if kept else ~one.is_kept
            taken[mine], ranks[mine] = chosen[at], one.ranks[at]
            again[mine] = np.cumsum(chosen)[at] - 1 + (0 if kept else one.wanted)
        table = table.filter(pa.array(taken))
        place = table.schema.get_field_index("_index")
        table = table.set_column(place, "_index", pa.array(again[taken], pa.int64()))
        return self._with_lineage(table, ranks[taken]) if "lineage" in table.schema.names else table

    def _with_lineage(self, table: pa.Table, ranks: NDArray[np.int64]) -> pa.Table:
        columns = [table.column(name).to_pylist() for name in ("lineage", "label", self.score)]
        texts = []
        for text, label, score, rank in zip(*columns, ranks.tolist(), strict=True):
            of = len(self.classes[label].numbers)
            is_kept = rank <= self.classes[label].wanted
            said = {"by": self.score, "score": score, "rank": rank, "of": of, "kept": is_kept}
            texts.append(canonical({**json.loads(text), "choice": said}))
        place = table.schema.get_field_index("lineage")
        return table.set_column(place, "lineage", pa.array(texts, pa.string()))
