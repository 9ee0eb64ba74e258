"""What objects of the store refer to: found by their URIs, in JSON and in parquet files."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from gateway.cli.failures import CliError

_URI = re.compile(r"store:([A-Za-z0-9_.=+@/-]+)")


def closure(objects: Path, keys: Iterable[str], exists: Callable[[str], bool]) -> set[str]:
    """Returns the keys, and all that they refer to, directly or not; also the names of folders."""
    found: set[str] = set()
    waiting = list(keys)
    while waiting:
        key = waiting.pop()
        if key in found:
            continue
        found.add(key)
        if exists(key):
            waiting += _read(objects / key) - found
    return found


def is_among(key: str, found: set[str]) -> bool:
    """Says whether the key was found, or a folder that it lies in."""
    if key in found:
        return True
    parts = key.split("/")
    return any("/".join(parts[:count]) in found for count in range(1, len(parts)))


def _read(path: Path) -> set[str]:
    try:
        return _references(path)
    except ValueError as error:  # pyarrow's errors are such, too
        raise CliError(
            f"{path} is damaged; so what it needs is not known, and nothing is freed.",
            exit_code=3,
            remedy="Move that file away; what was made with it is made again when it is needed.",
            reason="OBJECT_DAMAGED",
        ) from error


def _references(path: Path) -> set[str]:
    """Raises OSError or ValueError for a file that cannot be read."""
    if path.suffix == ".json":
        return _uris(path.read_text("utf-8"))
    # Pools are large, and refer to nothing.
    if path.suffix == ".parquet" and "pools" not in path.parts[-3:]:
        import pyarrow.parquet as pq

        with pq.ParquetFile(path) as file:
            return {
                uri
                for batch in file.iter_batches(batch_size=4096)
                for column in batch.columns
                for uri in _in_column(column)
            }
    return set()


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


def _uris(text: str) -> set[str]:
    return {key.rstrip("/.") for key in _URI.findall(text)}
