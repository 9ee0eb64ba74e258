"""Reads tables that name image files and their classes: .csv, .tsv, .jsonl and .parquet.

The first line of a .csv or .tsv names the columns. Fields of a .csv are separated by the one of
comma, semicolon, tab and "|" that makes the most of that line; quotes are doubled within quotes.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, BinaryIO, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from datafiles.columns import class_names, rows_of
from datafiles.samples import BY_THE_RULES, Chosen
from datafiles.suffixes import is_image, is_table
from datafiles.texts import MAX_BYTES, Unreadable, encoding_of, read_json

# Columns of file names, the first that there is: Hugging Face's, then what others write.
FILE_COLUMNS = (
    "file_name", "filename", "file_path", "filepath", "filepaths", "file", "image_path",
    "image_name", "image_file", "image", "img", "path",
)  # fmt: skip
# Columns of classes where there is neither class_name nor label. Two of them are not told apart.
CLASS_COLUMNS = (
    "labels", "class", "classes", "classname", "category", "fine_label", "coarse_label", "target",
    "species", "breed",
)  # fmt: skip
_DELIMITERS = ",;\t|"
_LOOKED_AT = 100  # lines of a .jsonl, which has no header
_BATCH = 1024

Row = Mapping[str, object] | Unreadable


@dataclass(frozen=True)
class Table:
    """An open table: its columns, and its rows with a name for each such as "line 3".

    A row that cannot be used is an Unreadable. `classes` are the names of numbers by column.
    """

    columns: tuple[str, ...]
    rows: Iterator[tuple[str, Row]]
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def column_of(self, chosen: str, known: tuple[str, ...]) -> str:
        """Returns the chosen column, or the first known one, in any case; "" if there is none."""
        if chosen:
            return chosen if chosen in self.columns else ""
        spelled = {_plain(name): name for name in reversed(self.columns)}
        return next((spelled[name] for name in known if name in spelled), "")

    def label_columns(self, chosen: Chosen = BY_THE_RULES) -> dict[str, str]:
        """Returns the columns of the class, by class_name and label; {} if there is none.

        Raises Unreadable with the reason COLUMNS_UNCLEAR where several might be it.
        """
        if chosen.label:
            found = self.column_of(chosen.label, ())
            return {"label": found} if found else {}
        usual = {name: self.column_of("", (name,)) for name in ("class_name", "label")}
        if usual := {name: found for name, found in usual.items() if found}:
            return usual
        others = [name for name in self.columns if _plain(name) in CLASS_COLUMNS]
        if len(others) > 1:
            raise Unreadable(
                "COLUMNS_UNCLEAR",
                f"has several columns of classes, {', '.join(others)}; name one as the label "
                "column (--label-column, label_column)",
            )
        return {"label": others[0]} if others else {}


@contextmanager
def open_table(name: str, file: BinaryIO) -> Iterator[Table]:
    """Opens a table by its suffix. Raises Unreadable, also later where the file is at fault."""
    if is_table(name):
        table = _parquet(file)
        yield replace(table, rows=_guarded(table.rows))
        return
    text = io.TextIOWrapper(file, encoding_of(file.read(4)), newline="")
    text.seek(0)
    try:
        table = _json_lines(text) if name.lower().endswith(".jsonl") else _csv(text, name)
        yield replace(table, rows=_guarded(table.rows))
    except UnicodeError as error:
        raise _not_text() from error
    finally:
        text.detach()  # The file is its owner's to close.


def _guarded(rows: Iterator[tuple[str, Row]]) -> Iterator[tuple[str, Row]]:
    try:
        yield from rows
    except UnicodeError as error:
        raise _not_text() from error
    except (pa.ArrowException, OSError, OverflowError) as error:
        raise Unreadable("UNREADABLE", f"cannot be read to its end: {error}") from error


def _plain(name: str) -> str:
    return name.strip().casefold().replace(" ", "_").replace("-", "_")


def _not_text() -> Unreadable:
    return Unreadable("NOT_UTF8", "is not text in UTF-8; save it as UTF-8 (CSV UTF-8)")


def _parquet(file: BinaryIO) -> Table:
    try:
        table = pq.ParquetFile(file)
        schema = table.schema_arrow
    except (pa.ArrowException, OSError, ValueError) as error:
        raise Unreadable("BAD_PARQUET", f"is not a parquet file: {error}") from error
    wanted = [one.name for one in schema if not pa.types.is_nested(one.type)]
    _once_each(wanted)

    def rows() -> Iterator[tuple[str, Row]]:
        number = 0
        for batch in table.iter_batches(batch_size=_BATCH, columns=wanted):
            for row in rows_of(batch):
                yield f"row {number}", row
                number += 1

    return Table(tuple(wanted), rows(), class_names(schema))


def _json_lines(text: TextIO) -> Table:
    lines = _objects(text)
    first = list(islice(lines, _LOOKED_AT))
    names = dict.fromkeys(key for _, row in first if isinstance(row, dict) for key in row)
    if not names:
        why = next((row.message for _, row in first if isinstance(row, Unreadable)), "is empty")
        raise Unreadable("BAD_JSON", f"has no line that can be used; the first {why}")

    def rows() -> Iterator[tuple[str, Row]]:
        yield from first
        yield from lines

    return Table(tuple(names), rows())


def _objects(text: TextIO) -> Iterator[tuple[str, Row]]:
    for number, line in enumerate(iter(lambda: text.readline(MAX_BYTES + 1), ""), 1):
        if not line.strip():
            continue
        try:
            yield f"line {number}", read_json(line.encode(errors="replace"))
        except Unreadable as error:
            yield f"line {number}", error


def _csv(text: TextIO, name: str) -> Table:
    first = text.readline(MAX_BYTES)
    if not first.strip():
        raise Unreadable("EMPTY", "is empty; its first line names the columns: file_name,label")
    text.seek(0)
    delimiters = "\t" if name.lower().endswith(".tsv") else _DELIMITERS
    delimiter = max(delimiters, key=lambda one: _worth(first, one))
    reader = csv.reader(text, delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        header = [one.strip() for one in next(reader)]
    except csv.Error as error:
        raise _bad_csv(reader.line_num, error) from error
    if any(map(is_image, header)):
        raise Unreadable(
            "HEADER_MISSING",
            f"has no header: its first line is {first.strip()[:100]!r}. Write one above it that "
            f"names the columns, such as file_name{delimiter}label",
        )
    columns = [one for one in header if one]
    _once_each(columns)
    return Table(tuple(columns), _records(reader, header))


def _worth(line: str, delimiter: str) -> tuple[int, int]:
    """Returns how many known columns a delimiter makes of a header, and how many in all."""
    try:
        [fields] = csv.reader([line], delimiter=delimiter, skipinitialspace=True)
    except (csv.Error, ValueError):
        return 0, 0
    known = {*FILE_COLUMNS, *CLASS_COLUMNS, "class_name", "label"}
    return sum(_plain(one) in known for one in fields), len(fields)


def _records(reader: Any, header: list[str]) -> Iterator[tuple[str, Row]]:
    while True:
        number = reader.line_num + 1
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise _bad_csv(number, error) from error
        if fields is None:
            return
        if not any(one.strip() for one in fields):
            continue
        if len(fields) != len(header):
            what = f"has {len(fields)} fields, and the header {len(header)}; quote what holds the "
            yield f"line {number}", Unreadable("BAD_ROW", f"{what}separator")
            continue
        yield f"line {number}", dict(zip(header, fields, strict=True))


def _bad_csv(line: int, error: csv.Error) -> Unreadable:
    return Unreadable("BAD_CSV", f"is damaged at line {line}: {error}; check its quotes")


def _once_each(columns: list[str]) -> None:
    if len(set(columns)) < len(columns):
        shown = json.dumps(columns, ensure_ascii=False)[:200]
        raise Unreadable("COLUMNS_MISSING", f"has a column twice: {shown}; name each once")
