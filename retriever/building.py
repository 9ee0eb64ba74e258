"""Builds an index of a pool, shard by shard and part by part, so that a killed build goes on."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np

from datafiles.rejected import RejectedFile
from retriever.embedder import Embedder
from retriever.encoder import Vectors
from retriever.library import BrokenShard, IndexLibrary, IndexRecord, Origin, check_encoder
from retriever.parts import Part, PartNotes, PartStore
from retriever.pool import Pool, PoolRow, Shard, ShardBroken, bad_pool, open_pool
from retriever.pool.reading import PoolImage, read_pool_images
from retriever.pool.tally import Tally, counted, merged
from retriever.tables import to_table
from servicekit.errors import Exhausted
from servicekit.storage import ObjectStore
from servicekit.together import to_its_end, together

_log = logging.getLogger(__name__)
_Read = list[PoolImage | RejectedFile]


@dataclass(frozen=True)
class BuildProgress:
    """How far a build is. The total is foreseen from sizes until the last shard is read."""

    done_count: int = 0
    failed_count: int = 0
    total_count: int = 0
    broken_shards: tuple[BrokenShard, ...] = ()
    left_out: Tally = field(default_factory=dict)


class IndexBuilder:
    """Embeds pools. Each finished part is stored, and found again by a later build."""

    def __init__(
        self, store: ObjectStore, library: IndexLibrary, embedder: Embedder, *, shard_size: int
    ) -> None:
        self._store, self._library, self._embedder = store, library, embedder
        self._shard_size = shard_size

    async def build(
        self, index_id: str, pool_uri: str, report: Callable[[BuildProgress], None]
    ) -> IndexRecord:
        """Builds the index, or returns it if it is there.

        Images that are missing or cannot be decoded are counted and left out, and so are whole
        shards that cannot be read. Raises NotFound or InvalidArgument for a pool that cannot be
        used, and Unavailable, before any work, if the index could not be written.
        """
        encoder = self._embedder.encoder_id
        parts = PartStore(self._store, index_id, encoder, self._shard_size)
        record = await asyncio.to_thread(self._library.find, index_id)
        if record is not None:
            check_encoder(record, encoder)
            await to_its_end(parts.delete_all)  # Of a process that was lost before it came to that.
            return record
        await asyncio.to_thread(self._library.check_engine)
        pool = await asyncio.to_thread(open_pool, self._store, pool_uri)
        build = _Build(self._store, self._embedder, self._shard_size, pool, parts, report)
        made = await build.run()
        left_out = tuple(build.progress.left_out.values())
        origin = Origin(pool_uri, encoder, build.progress.broken_shards, left_out)
        record = await to_its_end(self._library.write, index_id, parts, made, origin)
        await to_its_end(parts.delete_all)
        _log.info("index built", extra={"fields": {"index": record.name, "kind": record.kind}})
        return record


@dataclass
class _Build:
    """One build at work."""

    store: ObjectStore
    embedder: Embedder
    rows_per_part: int
    pool: Pool
    parts: PartStore
    report: Callable[[BuildProgress], None]
    progress: BuildProgress = field(default_factory=BuildProgress)
    # Sizes and rows of the shards that are finished.
    size_done: int = 0
    rows_done: int = 0

    async def run(self) -> list[PartNotes]:
        """Makes the parts of all shards, or finds them. Broken shards are left out."""
        made: list[PartNotes] = []
        self.progress = BuildProgress(left_out=counted(self.pool.left_out))
        for shard in self.pool.shards:
            before = self.progress
            try:
                made += await self._run_shard(shard)
            except ShardBroken as error:
                broken = BrokenShard(shard.uri, error.reason, error.message)
                _log.warning("shard left out", extra={"fields": vars(broken)})
                self.progress = replace(before, broken_shards=(*before.broken_shards, broken))
            self.size_done += shard.size
            self.rows_done = self.progress.done_count + self.progress.failed_count
            await self._tell(0, 0)
        self._check_not_empty()
        return made

    async def _run_shard(self, shard: Shard) -> list[PartNotes]:
        made: list[PartNotes] = []
        source: _Source | None = None
        while True:
            key = self.parts.key(shard, len(made))
            part = await asyncio.to_thread(self.parts.find, key)
            if part is not None:
                source = None
            else:
                if source is None:
                    source = await asyncio.to_thread(
                        _Source, shard, self.store, self.rows_per_part, len(made)
                    )
                rows = await asyncio.to_thread(source.next)
                part = await self._embed(rows, source.is_empty)
                await to_its_end(self.parts.put, key, part)
            made.append(PartNotes(key, len(part.vectors), part.metadata.schema))
            self.progress = replace(
                self.progress,
                done_count=self.progress.done_count + len(part.vectors),
                failed_count=self.progress.failed_count + part.failed_count,
                left_out=merged((self.progress.left_out, part.left_out)),
            )
            if part.is_last:
                return made
            await self._tell(source.count if source else 0, shard.size)

    async def _tell(self, count: int, size: int) -> None:
        """Reports; how many images there are in all is foreseen from sizes."""
        known, read = self.rows_done + count, self.size_done + size
        total = round(known * sum(shard.size for shard in self.pool.shards) / max(read, 1))
        seen = self.progress.done_count + self.progress.failed_count
        self.progress = replace(self.progress, total_count=max(total, seen))
        await asyncio.to_thread(self.report, self.progress)

    async def _embed(self, found: Sequence[PoolRow | RejectedFile], is_last: bool) -> Part:
        rows = [one for one in found if isinstance(one, PoolRow)]
        step = self.embedder.max_batch
        chunks = [rows[start : start + step] for start in range(0, len(rows), step)]
        # Two at a time: one is decoded while the other is on the device, and the queue stays
        # short for callers who wait.
        turn = asyncio.Semaphore(2)

        async def embed(chunk: Sequence[PoolRow]) -> tuple[_Read, Vectors]:
            async with turn:
                read = await asyncio.to_thread(read_pool_images, self.store, chunk)
                images = [one for one in read if isinstance(one, PoolImage)]
                return read, await self._embed_patiently(images)

        made = await together(embed(chunk) for chunk in chunks)
        read = [one for part, _ in made for one in part]
        images = [one for one in read if isinstance(one, PoolImage)]
        none = np.zeros((0, self.embedder.dimension), np.float32)
        vectors = np.concatenate([none, *(vectors for _, vectors in made)])
        left_out = [one for one in (*found, *read) if isinstance(one, RejectedFile)]
        left_out += [one for image in images for one in image.row.problems]
        failed = len(rows) - len(images)
        return Part(vectors, to_table(images), failed, is_last, counted(left_out))

    async def _embed_patiently(self, images: Sequence[PoolImage]) -> Vectors:
        """Embeds; a full queue delays a build and does not fail it."""
        while True:
            try:
                return await self.embedder.embed_images([image.image for image in images])
            except Exhausted as error:
                await asyncio.sleep(error.retry_after)

    def _check_not_empty(self) -> None:
        broken, uri = self.progress.broken_shards, self.pool.uri
        if self.progress.done_count:
            return
        if broken and len(broken) == len(self.pool.shards):
            more = f" (and {len(broken) - 1} more like it)" if len(broken) > 1 else ""
            raise bad_pool(broken[0].message + more, broken[0].reason)
        if self.progress.failed_count == 0:
            first = next((f" ({one.example})" for one in self.progress.left_out.values()), "")
            raise bad_pool(
                f"the pool {uri} has no rows{first}; give one with at least one image", "EMPTY_POOL"
            )
        raise bad_pool(
            f"none of the {self.progress.failed_count} images of the pool {uri} can be read; give "
            "a pool whose images are in the store and are images",
            "EMPTY_POOL",
        )


class _Source:
    """The rows of a shard, some at a time, from part `number` on."""

    def __init__(self, shard: Shard, store: ObjectStore, size: int, number: int) -> None:
        self.count, rows = shard.read(store)
        self._rows, self._size = islice(rows, number * size, None), size
        self._ahead = self._take()

    @property
    def is_empty(self) -> bool:
        return not self._ahead

    def next(self) -> list[PoolRow | RejectedFile]:
        """Returns the next rows; none at the end. Raises ShardBroken."""
        rows, self._ahead = self._ahead, self._take()
        return rows

    def _take(self) -> list[PoolRow | RejectedFile]:
        return list(islice(self._rows, self._size))
