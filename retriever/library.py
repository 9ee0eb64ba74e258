"""The indexes in the object store: written once, loaded when asked for, kept while in use."""

import asyncio
import json
import math
import shutil
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from pyarrow import ArrowException

from retriever.index import IndexKinds, VectorIndex
from retriever.metadata import PART_ROWS, Metadata
from retriever.parts import PartNotes, PartStore
from retriever.pool.tally import LeftOutFiles
from retriever.tables import columns_of
from retriever.writing import Digest, Files, FilesWriter, Objects, blocks, sweep
from servicekit.errors import Internal, NotFound, Precondition
from servicekit.storage import ObjectStore

# Raise it when stored indexes can no longer be read.
_VERSION = 2
_NO_VECTORS = np.zeros((0, 0), np.float32)


@dataclass(frozen=True)
class BrokenShard:
    """A shard of a pool that was left out."""

    uri: str
    reason: str
    message: str


@dataclass(frozen=True)
class IndexRecord:
    """What is known about an index without loading it."""

    index_id: str
    pool_uri: str
    image_count: int
    encoder: str
    dimension: int
    kind: str
    # SHA-256 of the vectors and the metadata.
    digest: str
    # Columns that filters can use: "number" or "text" by name.
    columns: dict[str, str] = field(default_factory=dict)
    broken_shards: tuple[BrokenShard, ...] = ()
    left_out: tuple[LeftOutFiles, ...] = ()
    version: int = 1

    @property
    def name(self) -> str:
        return f"indexes/{self.index_id}"

    @property
    def content(self) -> str:
        """Names the index and its content."""
        return f"{self.index_id}-{self.digest[:16]}"


@dataclass(frozen=True)
class LoadedIndex:
    """An index that can be searched; row i of `metadata` belongs to vector i."""

    record: IndexRecord
    vectors: VectorIndex
    metadata: Metadata


@dataclass(frozen=True)
class Origin:
    """What an index is made of and with."""

    pool_uri: str
    encoder: str
    broken_shards: tuple[BrokenShard, ...]
    left_out: tuple[LeftOutFiles, ...] = ()


class IndexLibrary:
    """Writes, lists and loads indexes. Keeps the `capacity` that were used last.

    Files that are mapped lie in `cache`, which may be lost at any time.
    """

    def __init__(
        self, store: ObjectStore, kinds: IndexKinds, *, cache: Path, capacity: int
    ) -> None:
        self._store, self._kinds, self._cache, self._capacity = store, kinds, cache, capacity
        sweep(cache)
        self._loaded: OrderedDict[str, LoadedIndex] = OrderedDict()
        self._loading = asyncio.Lock()

    def find(self, index_id: str) -> IndexRecord | None:
        """Returns the record, or None if there is no such index."""
        key = _key(index_id, "index.json")
        return _record(self._store.get(key)) if self._store.exists(key) else None

    def get(self, index_id: str) -> IndexRecord:
        """Returns the record. Raises NotFound."""
        record = self.find(index_id)
        if record is None:
            name = f"indexes/{index_id}"
            raise NotFound(
                f"there is no index {name}; make it with CreateIndex",
                resource=name,
                reason="INDEX_NOT_FOUND",
            )
        return record

    def all(self) -> list[IndexRecord]:
        """Returns all indexes, sorted by name."""
        keys = [key for key in self._store.list("indexes/") if key.endswith("/index.json")]
        records = [_record(self._store.get(key)) for key in keys]
        return sorted(records, key=lambda record: record.name)

    def check_engine(self) -> None:
        """Raises Unavailable if new indexes could not be written now."""
        self._kinds.for_count(1).check()

    async def load(self, index_id: str, encoder_id: str) -> LoadedIndex:
        """Returns the index, ready to be searched.

        Raises NotFound, Internal if its objects are damaged, Precondition if it was built with
        another encoder or needs other settings, and Unavailable if it is in a Milvus that cannot
        be reached.
        """
        async with self._loading:
            if index_id not in self._loaded:
                check_encoder(await asyncio.to_thread(self.get, index_id), encoder_id)
                self._loaded[index_id] = await asyncio.to_thread(self._load, index_id)
                while len(self._loaded) > self._capacity:
                    _, old = self._loaded.popitem(last=False)
                    # What still searches it keeps the files' content.
                    shutil.rmtree(self._cache / old.record.content, ignore_errors=True)
            self._loaded.move_to_end(index_id)
            return self._loaded[index_id]

    def write(
        self, index_id: str, parts: PartStore, made: Sequence[PartNotes], origin: Origin
    ) -> IndexRecord:
        """Builds and stores an index; its record comes last, so a half-written one is none."""
        columns = columns_of(notes.schema for notes in made)
        kind = self._kinds.for_count(sum(notes.count for notes in made))
        objects, digest = Objects(self._store, index_id), Digest()
        writer = FilesWriter(self._cache)
        try:
            found = blocks((parts.get(notes.key) for notes in made), columns)
            for number, (vectors, metadata) in enumerate(found):
                data = np.ascontiguousarray(vectors, "<f4").tobytes()
                writer.add(data, metadata)
                digest.update(data, metadata)
                objects.put(number, data if kind.keeps_vectors else None, metadata)
            record = IndexRecord(
                index_id=index_id,
                pool_uri=origin.pool_uri,
                image_count=sum(notes.count for notes in made),
                encoder=origin.encoder,
                dimension=vectors.shape[1],
                kind=kind.name,
                digest=digest.hexdigest(),
                columns=columns,
                broken_shards=origin.broken_shards,
                left_out=origin.left_out,
                version=_VERSION,
            )
            files = writer.finish(record.content)
        except BaseException:
            writer.drop()
            raise
        prepared = kind.build(record.content, files.vectors(record.dimension))
        self._store.put(_key(index_id, "prepared.bin"), prepared, overwrite=True)
        document = json.dumps(asdict(record), indent=2).encode()
        self._store.put(_key(index_id, "index.json"), document)
        return record

    def _load(self, index_id: str) -> LoadedIndex:
        record = self.get(index_id)
        if record.version != _VERSION:
            raise Precondition(
                f"{record.name} was written by another version of the retriever; make it again "
                "under another id",
                subject=record.name,
                reason="INDEX_VERSION",
            )
        kind = self._kinds.named(record.kind, record.name)
        try:
            files = self._files(record, kind.keeps_vectors)
            prepared = self._store.get(_key(index_id, "prepared.bin"))
            mapped = files.vectors(record.dimension) if kind.keeps_vectors else _NO_VECTORS
            vectors = kind.open(record.content, mapped, prepared)
        except (NotFound, ArrowException, ValueError, RuntimeError) as error:
            raise _damaged(record, str(error)) from error
        metadata = Metadata(files.metadata, record.columns)
        if not vectors.count == metadata.count == record.image_count:
            counts = f"{vectors.count} vectors, {metadata.count} rows of metadata"
            raise _damaged(record, f"{counts}, {record.image_count} images")
        return LoadedIndex(record, vectors, metadata)

    def _files(self, record: IndexRecord, with_vectors: bool) -> Files:
        """Returns the mapped files, copied from the objects if they are not there."""
        if (self._cache / record.content).is_dir():
            return Files(self._cache / record.content)
        objects, writer = Objects(self._store, record.index_id), FilesWriter(self._cache)
        try:
            for number in range(math.ceil(record.image_count / PART_ROWS)):
                writer.add(*objects.get(number, with_vectors))
            return writer.finish(record.content)
        except BaseException:
            writer.drop()
            raise


def check_encoder(record: IndexRecord, encoder_id: str) -> None:
    """Raises Precondition, naming both, if the index was built with another encoder."""
    if record.encoder != encoder_id:
        raise Precondition(
            f"{record.name} was built with the encoder {record.encoder}, but {encoder_id} serves "
            "now; make an index under another id, or serve the encoder it was built with",
            subject=record.name,
            reason="ENCODER_MISMATCH",
            metadata={"index_encoder": record.encoder, "serving_encoder": encoder_id},
        )


def _damaged(record: IndexRecord, why: str) -> Internal:
    return Internal(
        f"{record.name} is damaged: {why}; make it again under another id", reason="INDEX_DAMAGED"
    )


def _record(document: bytes) -> IndexRecord:
    values = json.loads(document)
    values.pop("pool_digest", None)  # Of the first version.
    broken = tuple(BrokenShard(**one) for one in values.pop("broken_shards", ()))
    left_out = tuple(LeftOutFiles(**one) for one in values.pop("left_out", ()))
    return IndexRecord(**values, broken_shards=broken, left_out=left_out)


def _key(index_id: str, name: str) -> str:
    return f"indexes/{index_id}/{name}"
