"""The indexes in the object store: written once, loaded when asked for, kept while in use."""

import asyncio
import hashlib
import io
import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from retriever.encoder import Vectors
from retriever.index import KINDS, VectorIndex, kind_for
from servicekit.errors import Internal, NotFound, Precondition
from servicekit.storage import ObjectStore

METADATA: pa.Schema = pa.schema(
    [  # type: ignore[arg-type]
        pa.field("image_uri", pa.string()),
        pa.field("sha256", pa.string()),
        pa.field("caption", pa.string()),
        pa.field("label", pa.int64()),
        pa.field("class_name", pa.string()),
    ]
)


@dataclass(frozen=True)
class IndexRecord:
    """What is known about an index without loading it."""

    index_id: str
    pool_uri: str
    pool_digest: str
    image_count: int
    encoder: str
    dimension: int
    kind: str
    # SHA-256 of the vectors and the metadata.
    digest: str

    @property
    def name(self) -> str:
        return f"indexes/{self.index_id}"


@dataclass(frozen=True)
class FoundImage:
    """One hit of a search."""

    image_uri: str
    sha256: str
    similarity: float
    caption: str


@dataclass(frozen=True)
class LoadedIndex:
    """An index in memory; row i of `metadata` belongs to vector i."""

    record: IndexRecord
    vectors: VectorIndex
    metadata: pa.Table

    def search(self, queries: Vectors, hit_count: int) -> list[list[FoundImage]]:
        """Returns the nearest images of each query [q, d], best first."""
        neighbours = self.vectors.search(queries, hit_count)
        return [
            self._found(rows, similarities)
            for rows, similarities in zip(neighbours.rows, neighbours.similarities, strict=True)
        ]

    def _found(self, rows: Sequence[int], similarities: Sequence[float]) -> list[FoundImage]:
        taken = self.metadata.select(["image_uri", "sha256", "caption"]).take(pa.array(rows))
        columns = [column.to_pylist() for column in taken.columns]
        return [
            FoundImage(uri, sha256, float(similarity), caption)
            for uri, sha256, caption, similarity in zip(*columns, similarities, strict=True)
        ]


class IndexLibrary:
    """Writes, lists and loads indexes. Keeps the `capacity` that were used last in memory."""

    def __init__(self, store: ObjectStore, *, capacity: int, flat_limit: int) -> None:
        self._store, self._capacity, self._flat_limit = store, capacity, flat_limit
        self._loaded: OrderedDict[str, LoadedIndex] = OrderedDict()
        self._loading = asyncio.Lock()

    def find(self, index_id: str) -> IndexRecord | None:
        """Returns the record, or None if there is no such index."""
        key = _key(index_id, "index.json")
        if not self._store.exists(key):
            return None
        return IndexRecord(**json.loads(self._store.get(key)))

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
        records = [IndexRecord(**json.loads(self._store.get(key))) for key in keys]
        return sorted(records, key=lambda record: record.name)

    async def load(self, index_id: str) -> LoadedIndex:
        """Returns the index in memory. Raises NotFound, or Internal if its objects are damaged."""
        async with self._loading:
            if index_id not in self._loaded:
                self._loaded[index_id] = await asyncio.to_thread(self._load, index_id)
                while len(self._loaded) > self._capacity:
                    self._loaded.popitem(last=False)
            self._loaded.move_to_end(index_id)
            return self._loaded[index_id]

    def write(
        self,
        index_id: str,
        vectors: Vectors,
        metadata: pa.Table,
        *,
        pool_uri: str,
        pool_digest: str,
        encoder: str,
    ) -> IndexRecord:
        """Builds and stores an index; its record comes last, so a half-written one is none."""
        index = kind_for(len(vectors), self._flat_limit).build(vectors)
        record = IndexRecord(
            index_id=index_id,
            pool_uri=pool_uri,
            pool_digest=pool_digest,
            image_count=len(vectors),
            encoder=encoder,
            dimension=int(vectors.shape[1]),
            kind=index.kind,
            digest=_digest(vectors, metadata),
        )
        # Overwritten, because what an interrupted build left may be of another encoder.
        self._store.put(_key(index_id, "vectors.faiss"), index.save(), overwrite=True)
        self._store.put(_key(index_id, "metadata.parquet"), to_parquet(metadata), overwrite=True)
        document = json.dumps(asdict(record), indent=2).encode()
        self._store.put(_key(index_id, "index.json"), document)
        return record

    def _load(self, index_id: str) -> LoadedIndex:
        record = self.get(index_id)
        vectors = KINDS[record.kind].load(self._store.get(_key(index_id, "vectors.faiss")))
        metadata = from_parquet(self._store.get(_key(index_id, "metadata.parquet")))
        if not vectors.count == metadata.num_rows == record.image_count:
            raise Internal(
                f"{record.name} is damaged: {vectors.count} vectors, {metadata.num_rows} rows of "
                f"metadata, {record.image_count} images; make it again under another id"
            )
        return LoadedIndex(record, vectors, metadata)


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


def to_parquet(table: pa.Table) -> bytes:
    """Returns the table as a parquet file."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def from_parquet(data: bytes) -> pa.Table:
    """Reads a parquet file."""
    return pq.read_table(pa.BufferReader(data))


def _key(index_id: str, name: str) -> str:
    return f"indexes/{index_id}/{name}"


def _digest(vectors: Vectors, metadata: pa.Table) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(vectors, "<f4").tobytes())
    for name in metadata.column_names:
        digest.update(json.dumps([name, metadata[name].to_pylist()]).encode())
    return digest.hexdigest()
