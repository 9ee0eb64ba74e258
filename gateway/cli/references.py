"""What objects of the store refer to: found by their URIs, in JSON, parquet and messages."""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from gateway.cli.failures import CliError

_URI = re.compile(r"store:([A-Za-z0-9_.=+@/-]+)")
_DOCUMENTS = (".json", ".parquet", ".pb")
# Wire types of protobuf: https://protobuf.dev/programming-guides/encoding
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

# Of a table, read at a time.
_ROWS = 4096


def is_document(key: str) -> bool:
    """Says whether an object may refer to others."""
    # Pools are large, and refer to nothing.
    return key.endswith(_DOCUMENTS) and not key.startswith("pools/")


def references(file: IO[bytes], key: str) -> Iterator[str]:
    """Yields the keys, and names of folders, that a document refers to, some repeatedly.

    Raises ValueError for a damaged document.
    """
    if key.endswith(".json"):
        yield from _uris(file.read().decode())
    elif key.endswith(".pb"):
        yield from _in_message(file.read())
    else:
        yield from _in_table(file)


def damaged(place: str) -> CliError:
    """Returns the error for a document that cannot be read."""
    return CliError(
        f"{place} is damaged; so what it needs is not known, and nothing is freed.",
        exit_code=3,
        remedy="Move that file away; what was made with it is made again when it is needed.",
        reason="OBJECT_DAMAGED",
    )


def closure(objects: Path, keys: Iterable[str], exists: Callable[[str], bool]) -> set[str]:
    """Returns the keys, and all that they refer to, directly or not; also the names of folders."""
    found: set[str] = set()
    waiting = list(keys)
    while waiting:
        key = waiting.pop()
        if key in found:
            continue
        found.add(key)
        if exists(key) and is_document(key):
            waiting += _read(objects / key, key) - found
    return found


def is_among(key: str, found: set[str]) -> bool:
    """Says whether the key was found, or a folder that it lies in."""
    return key in found or any(folder in found for folder in folders_of(key))


def folders_of(key: str) -> Iterator[str]:
    """Yields the names of the folders that a key lies in."""
    parts = key.split("/")
    yield from ("/".join(parts[:count]) for count in range(1, len(parts)))


def _read(path: Path, key: str) -> set[str]:
    with path.open("rb") as file:
        try:
            return set(references(file, key))
        except ValueError as error:  # pyarrow's errors are such, too
            raise damaged(str(path)) from error


def _in_table(file: IO[bytes]) -> Iterator[str]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as table:
        names = [field.name for field in table.schema_arrow if _holds_text(field.type)]
        if not names:
            return
        for batch in table.iter_batches(batch_size=_ROWS, columns=names):
            for column in batch.columns:
                yield from _in_column(column)


def _holds_text(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _holds_text(kind.value_type)
    if pa.types.is_struct(kind):
        return any(_holds_text(field.type) for field in kind)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _holds_text(kind.value_type)
    if pa.types.is_map(kind):
        return _holds_text(kind.item_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _in_column(column: Any) -> set[str]:
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        return _in_column(column.dictionary)
    if pa.types.is_struct(kind):
        return {uri for part in column.flatten() for uri in _in_column(part)}
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_map(kind):
        return _in_column(column.values if not pa.types.is_map(kind) else column.items)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return {uri for text in column.unique().to_pylist() if text for uri in _uris(text)}
    return set()


def _in_message(data: bytes) -> Iterator[str]:
    """Yields the URIs in a message of any type: in each text, which is told by its length.

    What is a message may be a text as well, so some are yielded that go on into the next field.
    """
    for field in _fields(data) or ():
        if b"store:" in field:
            yield from _in_message(field)
            yield from _uris(field.decode("utf-8", "replace"))


def _fields(data: bytes) -> list[bytes] | None:
    """Returns the fields of a message that have a length; None if it is no message."""
    found, place = [], 0
    while place < len(data):
        tag, place = _varint(data, place)
        if tag & 7 == _BYTES:
            size, place = _varint(data, place)
            found.append(data[place : place + size])
            place += size
        elif tag & 7 == _VARINT:
            _, place = _varint(data, place)
        elif tag & 7 in (_FIXED64, _FIXED32):
            place += 8 if tag & 7 == _FIXED64 else 4
        else:
            return None
    return found if place == len(data) else None


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """Returns a number and where it ends; beyond the end of the data if it is cut off."""
    value = shift = 0
    while place < len(data):
        value |= (data[place] & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if not data[place - 1] & 0x80:
            return value, place
    return 0, len(data) + 1


def _uris(text: str) -> set[str]:
    return {key.rstrip("/.") for key in _URI.findall(text)}
