"""Builds an index of a pool, shard by shard, so that an interrupted build goes on."""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from retriever.embedder import Embedder
from retriever.encoder import Vectors
from retriever.library import (
    METADATA,
    IndexLibrary,
    IndexRecord,
    check_encoder,
    from_parquet,
    to_parquet,
)
from retriever.pool import Pool, PoolImage, PoolRow, empty_pool, read_pool_images
from servicekit.errors import Exhausted
from servicekit.storage import ObjectStore

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BuildProgress:
    """How far a build is."""

    done_count: int
    total_count: int
    failed_count: int


@dataclass(frozen=True)
class _Shard:
    """The usable images of one batch of a pool: vectors [n, d] and their metadata."""

    vectors: Vectors
    metadata: pa.Table
    failed_count: int


class IndexBuilder:
    """Embeds pools. Each finished shard is stored, and found again by a later build."""

    def __init__(
        self, store: ObjectStore, library: IndexLibrary, embedder: Embedder, *, shard_size: int
    ) -> None:
        self._store, self._library, self._embedder = store, library, embedder
        self._shard_size = shard_size

    async def build(
        self, index_id: str, pool_uri: str, report: Callable[[BuildProgress], None]
    ) -> IndexRecord:
        """Builds the index, or returns it if it is there.

        Images that are missing or cannot be decoded are counted and left out. Raises NotFound or
        InvalidArgument for a pool that cannot be used.
        """
        record = await asyncio.to_thread(self._library.find, index_id)
        if record is not None:
            check_encoder(record, self._embedder.encoder_id)
            return record
        pool = await asyncio.to_thread(Pool, self._store, pool_uri)
        shards = await self._embed_pool(index_id, pool, report)
        return await asyncio.to_thread(self._finish, index_id, pool, shards)

    async def _embed_pool(
        self, index_id: str, pool: Pool, report: Callable[[BuildProgress], None]
    ) -> list[_Shard]:
        shards: list[_Shard] = []
        batches = pool.batches(self._shard_size)
        prefix = self._shard_prefix(index_id, pool)
        done = failed = 0
        while (rows := await asyncio.to_thread(next, batches, None)) is not None:
            key = f"{prefix}/{len(shards):06d}.parquet"
            shard = await asyncio.to_thread(self._find_shard, key)
            if shard is None:
                shard = await self._embed_shard(rows)
                await asyncio.to_thread(self._store.put, key, _shard_bytes(shard))
            shards.append(shard)
            done, failed = done + len(shard.vectors), failed + shard.failed_count
            await asyncio.to_thread(report, BuildProgress(done, pool.count, failed))
        return shards

    async def _embed_shard(self, rows: Sequence[PoolRow]) -> _Shard:
        step = self._embedder.max_batch
        chunks = [rows[start : start + step] for start in range(0, len(rows), step)]
        # Two at a time: one is decoded while the other is on the device, and the queue stays
        # short for callers who wait.
        turn = asyncio.Semaphore(2)

        async def embed(chunk: Sequence[PoolRow]) -> tuple[list[PoolImage], Vectors]:
            async with turn:
                read = await asyncio.to_thread(read_pool_images, self._store, chunk)
                images = [image for image in read if image is not None]
                return images, await self._embed_patiently(images)

        parts = await asyncio.gather(*(embed(chunk) for chunk in chunks))
        images = [image for part, _ in parts for image in part]
        vectors = np.concatenate([vectors for _, vectors in parts])
        return _Shard(vectors, _metadata(images), len(rows) - len(images))

    async def _embed_patiently(self, images: Sequence[PoolImage]) -> Vectors:
        """Embeds; a full queue delays a build and does not fail it."""
        while True:
            try:
                return await self._embedder.embed_images([image.image for image in images])
            except Exhausted as error:
                await asyncio.sleep(error.retry_after)

    def _finish(self, index_id: str, pool: Pool, shards: Sequence[_Shard]) -> IndexRecord:
        vectors = np.concatenate([shard.vectors for shard in shards])
        if len(vectors) == 0:
            raise empty_pool(
                f"none of the {pool.count} images of the pool {pool.uri} can be read; give a pool "
                "whose images are in the store and are images"
            )
        record = self._library.write(
            index_id,
            vectors,
            pa.concat_tables([shard.metadata for shard in shards]),
            pool_uri=pool.uri,
            pool_digest=pool.digest,
            encoder=self._embedder.encoder_id,
        )
        for key in list(self._store.list(f"indexes/{index_id}/shards/")):
            self._store.delete(key)
        _log.info("index built", extra={"fields": {"index": record.name, "kind": record.kind}})
        return record

    def _find_shard(self, key: str) -> _Shard | None:
        if not self._store.exists(key):
            return None
        table = from_parquet(self._store.get(key))
        width = int(table.schema.metadata[b"dimension"])
        vectors: Any = table["vector"].combine_chunks()
        values = vectors.flatten().to_numpy()
        return _Shard(
            values.reshape(-1, width).astype(np.float32),
            table.select(METADATA.names).replace_schema_metadata(None),
            int(table.schema.metadata[b"failed_count"]),
        )

    def _shard_prefix(self, index_id: str, pool: Pool) -> str:
        """Names what determines a shard, so that only a shard of the same work is found."""
        parts = (pool.digest, self._embedder.encoder_id, str(self._shard_size))
        digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()
        return f"indexes/{index_id}/shards/{digest[:16]}"


def _metadata(images: Sequence[PoolImage]) -> pa.Table:
    columns = {name: [getattr(image, name) for image in images] for name in METADATA.names}
    return pa.table(columns, schema=METADATA)


def _shard_bytes(shard: _Shard) -> bytes:
    width = shard.vectors.shape[1]
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(shard.vectors.ravel()), width)
    table = shard.metadata.append_column("vector", vectors)
    notes = {"dimension": str(width), "failed_count": str(shard.failed_count)}
    return to_parquet(table.replace_schema_metadata(notes))
