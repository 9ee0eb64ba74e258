"""Search in Milvus, for pools that outgrow one machine."""

import threading
from collections.abc import Callable
from hashlib import sha256
from typing import Any, ClassVar, TypeVar

import numpy as np

from retriever.index.base import Floats, Neighbours, Rows, ranked
from servicekit.errors import Precondition, Unavailable

T = TypeVar("T")

# What Milvus answers at most, whatever the pool.
_MOST_HITS = 16_384
# Vectors that a search of a graph visits (ef).
_FEWEST_VISITED, _MOST_VISITED = 256, 32_768
_INSERTED = 2_048
_CALL_SECONDS, _CONNECT_SECONDS = 30.0, 5.0
_UNREACHABLE, _NO_COLLECTION = 2, 100


class MilvusServer:
    """A connection, made by the first call and again after a failure. Thread-safe."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._client: Any = None
        self._lock = threading.Lock()

    def call(self, work: Callable[[Any], T]) -> T:
        """Returns what `work` does with a client.

        Raises Unavailable if Milvus cannot be reached, and Precondition if it refuses or does not
        have the collection.
        """
        from pymilvus import MilvusException

        try:
            return work(self._connected())
        except MilvusException as error:
            raise self._translate(error) from error

    def _connected(self) -> Any:
        from pymilvus import MilvusClient

        with self._lock:
            if self._client is None:
                self._client = MilvusClient(uri=self.uri, timeout=_CONNECT_SECONDS)
            return self._client

    def _translate(self, error: Any) -> Exception:
        if error.code == _NO_COLLECTION:
            return Precondition(
                f"Milvus at {self.uri} no longer has this index's vectors "
                f"({error.message}); make the index again under another id",
                subject=self.uri,
                reason="COLLECTION_MISSING",
            )
        if error.code == _UNREACHABLE or "deadline" in str(error.message).lower():
            with self._lock:
                self._client = None
            return Unavailable(
                f"Milvus cannot be reached at {self.uri} ({error.message}); start it, or correct "
                "RETRIEVER_MILVUS; what was embedded is kept",
                reason="MILVUS_UNREACHABLE",
            )
        return Precondition(
            f"Milvus at {self.uri} refuses: {error.message}",
            subject=self.uri,
            reason="MILVUS_REFUSED",
        )


class MilvusIndex:
    """One collection: row numbers and their vectors."""

    def __init__(self, server: MilvusServer, collection: str) -> None:
        self._server, self._collection = server, collection
        described, count = server.call(self._describe)
        vector = next(one for one in described["fields"] if one["name"] == "vector")
        self.dimension, self.count = int(vector["params"]["dim"]), int(count)

    def search(self, queries: Floats, hit_count: int, allowed: Rows | None = None) -> Neighbours:
        available = min(self.count if allowed is None else len(allowed), _MOST_HITS)
        if available == 0:
            empty = np.zeros((len(queries), 0))
            return Neighbours(empty.astype(np.float32), empty.astype(np.int64))
        condition = "" if allowed is None else self._condition(allowed)
        return ranked(lambda asked: self._search(queries, asked, condition), hit_count, available)

    def _search(self, queries: Floats, asked: int, condition: str) -> Neighbours:
        found = self._ask(queries, asked, condition, max(_FEWEST_VISITED, 2 * asked))
        if min(map(len, found)) < asked:
            # A graph can lose its way where a condition leaves few; one that visits all does not.
            found = self._ask(queries, asked, condition, _MOST_VISITED)
        count = min(map(len, found))
        return Neighbours(
            np.array([[hit["distance"] for hit in hits[:count]] for hits in found], np.float32),
            np.array([[hit["row"] for hit in hits[:count]] for hits in found], np.int64),
        )

    def _ask(self, queries: Floats, asked: int, condition: str, visited: int) -> Any:
        def search(client: Any) -> Any:
            return client.search(
                self._collection,
                data=list(queries),
                limit=asked,
                filter=condition,
                output_fields=["row"],
                search_params={"params": {"ef": visited}},
                timeout=_CALL_SECONDS,
            )

        try:
            return self._server.call(search)
        except Precondition:
            # A Milvus that was started again may not have loaded the collection.
            self._server.call(self._load)
            return self._server.call(search)

    def _load(self, client: Any) -> None:
        client.load_collection(self._collection, timeout=_CALL_SECONDS)

    def _condition(self, allowed: Rows) -> str:
        """Names the rows that are allowed or, if that is shorter, those that are not."""
        if 2 * len(allowed) <= self.count:
            return f"row in {allowed.tolist()}"
        forbidden = np.setdiff1d(np.arange(self.count), allowed, assume_unique=True)
        return f"row not in {forbidden.tolist()}"

    def _describe(self, client: Any) -> tuple[dict[str, Any], int]:
        self._load(client)
        stats = client.get_collection_stats(self._collection, timeout=_CALL_SECONDS)
        described = client.describe_collection(self._collection, timeout=_CALL_SECONDS)
        return described, int(stats["row_count"])


class MilvusKind:
    """A collection for each index: exact up to `flat_limit` vectors, a graph (HNSW) beyond.

    The collection is named after the index and its content, so retrievers over different object
    stores can share one Milvus.
    """

    name: ClassVar[str] = "Milvus"
    keeps_vectors: ClassVar[bool] = False

    def __init__(self, server: MilvusServer, flat_limit: int) -> None:
        self._server, self._flat_limit = server, flat_limit

    def check(self) -> None:
        self._server.call(lambda client: client.list_collections(timeout=_CALL_SECONDS))

    def build(self, index_id: str, vectors: Floats) -> bytes:
        collection = f"variegate_{sha256(index_id.encode()).hexdigest()[:32]}"
        self._server.call(lambda client: self._create(client, collection, vectors))
        return collection.encode()

    def open(self, index_id: str, vectors: Floats, prepared: bytes) -> MilvusIndex:
        return MilvusIndex(self._server, prepared.decode())

    def _create(self, client: Any, collection: str, vectors: Floats) -> None:
        from pymilvus import DataType

        # What an interrupted build left.
        client.drop_collection(collection, timeout=_CALL_SECONDS)
        schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("row", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=vectors.shape[1])
        index = client.prepare_index_params()
        if len(vectors) <= self._flat_limit:
            index.add_index("vector", index_type="FLAT", metric_type="IP")
        else:
            graph = {"M": 16, "efConstruction": 200}
            index.add_index("vector", index_type="HNSW", metric_type="IP", params=graph)
        client.create_collection(
            collection,
            schema=schema,
            index_params=index,
            consistency_level="Strong",
            timeout=_CALL_SECONDS,
        )
        for start in range(0, len(vectors), _INSERTED):
            block = np.asarray(vectors[start : start + _INSERTED])
            rows = [{"row": start + number, "vector": one} for number, one in enumerate(block)]
            client.insert(collection, rows, timeout=_CALL_SECONDS)
        client.flush(collection, timeout=10 * _CALL_SECONDS)
