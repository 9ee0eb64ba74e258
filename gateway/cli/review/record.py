"""What was decided, as a column of the manifest, for everybody who reads that."""

import os
from pathlib import Path
from typing import Any

from gateway.cli.review.log import Decision, Review, read_review

COLUMN = "review"


def record(folder: Path) -> bool:
    """Writes the decisions into the manifest of an output: "accepted", "rejected", or null.

    The file of decisions stays what counts: a process that dies before this loses nothing. Returns
    whether anything had to be written. The new manifest replaces the old one once it is whole.
    """
    import pyarrow.parquet as pq

    review, manifest = read_review(folder), folder / "manifest.parquet"
    staged = folder / ".manifest.new"
    with pq.ParquetFile(manifest) as file:
        if not _differs(file, review):
            return False
        schema = None
        try:
            with staged.open("wb") as sink:
                writer = None
                for number in range(file.num_row_groups):
                    table = _with_decisions(file.read_row_group(number), review)
                    if writer is None:
                        schema = table.schema
                        writer = pq.ParquetWriter(sink, schema, compression="zstd")
                    writer.write_table(table)
                if writer:
                    writer.close()
                sink.flush()
                os.fsync(sink.fileno())
            staged.replace(manifest)
        finally:
            staged.unlink(missing_ok=True)
    return True


def _differs(file: Any, review: Review) -> bool:
    if COLUMN not in file.schema_arrow.names:
        return bool(review.newest) and file.num_row_groups > 0
    return any(
        table.column(COLUMN).to_pylist() != _decisions(table, review)
        for table in _groups(file, ["sha256", COLUMN])
    )


def _groups(file: Any, columns: list[str]) -> Any:
    for number in range(file.num_row_groups):
        yield file.read_row_group(number, columns)


def _with_decisions(table: Any, review: Review) -> Any:
    import pyarrow as pa

    values = pa.array(_decisions(table, review), pa.string())
    if COLUMN in table.column_names:
        table = table.drop_columns([COLUMN])
    return table.append_column(COLUMN, values)


def _decisions(table: Any, review: Review) -> list[str | None]:
    found = (review.decision_on(one) for one in table.column("sha256").to_pylist())
    return [None if one is Decision.OPEN else one.value for one in found]
