"""Writes an index: parts in, numbered objects and a folder of mapped files out.

Objects of an index hold PART_ROWS rows each, so no step needs the pool in memory; the files hold
all rows, since they are mapped.
"""

import hashlib
import json
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa

from retriever.encoder import Vectors
from retriever.metadata import PART_ROWS
from retriever.parquet import from_parquet, to_parquet
from retriever.parts import Part
from retriever.tables import SCHEMA, conformed
from servicekit.storage import ObjectStore

VECTORS, METADATA = "vectors.f32", "metadata.arrow"
_STAGED, _DAY = ".staged-", 86_400


class Files:
    """The vectors and the metadata of one index in a folder: row i of both belong together."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def metadata(self) -> Path:
        return self._folder / METADATA

    def vectors(self, dimension: int) -> Vectors:
        """Returns the vectors [n, dimension], mapped."""
        return np.asarray(np.memmap(self._folder / VECTORS, "<f4", "r")).reshape(-1, dimension)


class FilesWriter:
    """Fills a new folder, block by block; it takes its name when it is whole."""

    def __init__(self, parent: Path) -> None:
        self._parent = parent
        self._staged = parent / f"{_STAGED}{uuid.uuid4().hex}"
        self._staged.mkdir(parents=True)
        self._vectors: IO[bytes] = (self._staged / VECTORS).open("wb")
        self._table: Any = None

    def add(self, vectors: bytes, metadata: pa.Table) -> None:
        """Appends rows: PART_ROWS at a time, fewer only at the end."""
        self._vectors.write(vectors)
        if self._table is None:
            self._table = pa.ipc.new_file(str(self._staged / METADATA), metadata.schema)
        self._table.write_batch(metadata.combine_chunks().to_batches(PART_ROWS)[0])

    def finish(self, name: str) -> Files:
        """Gives the folder its name; another process may have been first."""
        self._close()
        folder = self._parent / name
        try:
            self._staged.replace(folder)
        except OSError:
            if not folder.is_dir():
                raise
            self.drop()
        return Files(folder)

    def drop(self) -> None:
        """Removes what was written."""
        self._close()
        shutil.rmtree(self._staged, ignore_errors=True)

    def _close(self) -> None:
        self._vectors.close()
        if self._table is not None:
            self._table.close()


def sweep(cache: Path) -> None:
    """Removes what processes that were killed left half-written, a day later."""
    for folder in cache.glob(f"{_STAGED}*"):
        if folder.stat().st_mtime < time.time() - _DAY:
            shutil.rmtree(folder, ignore_errors=True)


def blocks(parts: Iterable[Part], columns: dict[str, str]) -> Iterator[tuple[Vectors, pa.Table]]:
    """Yields the rows of all parts, PART_ROWS at a time."""
    vectors: list[Vectors] = []
    tables: list[pa.Table] = []
    held = 0
    for part in parts:
        vectors.append(part.vectors)
        tables.append(conformed(part.metadata, columns))
        held += len(part.vectors)
        while held >= PART_ROWS:
            joined, table = np.concatenate(vectors), pa.concat_tables(tables)
            yield joined[:PART_ROWS], table.slice(0, PART_ROWS)
            vectors, tables = [joined[PART_ROWS:]], [table.slice(PART_ROWS)]
            held -= PART_ROWS
    if held:
        yield np.concatenate(vectors), pa.concat_tables(tables)


class Objects:
    """The numbered objects of one index in the object store."""

    def __init__(self, store: ObjectStore, index_id: str) -> None:
        self._store, self._index_id = store, index_id

    def put(self, number: int, vectors: bytes | None, metadata: pa.Table) -> None:
        """Stores one block, over what an interrupted build of another encoder left."""
        if vectors is not None:
            self._store.put(self._key(VECTORS, number), vectors, overwrite=True)
        self._store.put(self._key("metadata", number), to_parquet(metadata), overwrite=True)

    def get(self, number: int, with_vectors: bool) -> tuple[bytes, pa.Table]:
        """Returns one block; no bytes if the vectors are not kept."""
        vectors = self._store.get(self._key(VECTORS, number)) if with_vectors else b""
        return vectors, from_parquet(self._store.get(self._key("metadata", number)))

    def _key(self, name: str, number: int) -> str:
        stem, _, suffix = name.partition(".")
        return f"indexes/{self._index_id}/{stem}/{number:05d}.{suffix or 'parquet'}"


class Digest:
    """SHA-256 of vectors and metadata, fed in blocks of PART_ROWS."""

    def __init__(self) -> None:
        self._vectors = hashlib.sha256()
        self._columns: dict[str, Any] = {}

    def update(self, vectors: bytes, metadata: pa.Table) -> None:
        """Adds rows. Thumbnails follow from the images, whose digests are in."""
        self._vectors.update(vectors)
        for name in metadata.column_names:
            if name != "thumbnail":
                digest = self._columns.setdefault(name, hashlib.sha256())
                digest.update(json.dumps(metadata[name].to_pylist())[1:-1].encode() + b"\n")

    def hexdigest(self) -> str:
        """Returns the digest in hexadecimal."""
        for name in [*SCHEMA.names, *sorted(set(self._columns) - set(SCHEMA.names))]:
            if name in self._columns:
                self._vectors.update(name.encode() + self._columns[name].digest())
        return self._vectors.hexdigest()
