"""Searches of an index: filters, and drops that are made up for from further away."""

import asyncio
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import faiss
import numpy as np

from retriever.dropping import Drop, Dropper, DropPolicy, Picture
from retriever.encoder import Vectors
from retriever.index.base import Floats, Rows
from retriever.library import LoadedIndex
from retriever.metadata import Filter
from retriever.screening.fingerprint import SIDE

# BURG: k is 1.4 times what is wanted, and grows to six times that.
MARGIN, GROWTH = 1.4, 6
# The most that every kind of index answers (Milvus).
_MOST_SEARCHED = 16_384
# Rows that are judged at a time.
_JUDGED = 64
_SHOWN = ("image_uri", "sha256", "caption")
_TOLD_BY = ("image_uri", "pixel_sha256", "thumbnail")

T = TypeVar("T")


@dataclass(frozen=True)
class FoundImage:
    """One hit of a search."""

    image_uri: str
    sha256: str
    caption: str
    similarity: float


@dataclass(frozen=True)
class Found:
    """The hits of one query, best first, and what was dropped among the images looked at."""

    hits: list[FoundImage]
    searched_count: int
    drops: Counter[Drop] = field(default_factory=Counter)


class Searcher:
    """Searches for many callers at once, one thread for each core."""

    def __init__(self, dropper: Dropper, *, threads: int) -> None:
        self._dropper = dropper
        # The number of threads is each thread's own: set elsewhere it would not hold here.
        self._pool = ThreadPoolExecutor(
            os.cpu_count(), "search", faiss.omp_set_num_threads, (threads,)
        )

    def close(self) -> None:
        """Ends the threads when what runs is done."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def search(
        self,
        index: LoadedIndex,
        queries: Vectors,
        hit_count: int,
        filters: Sequence[Filter] = (),
        policy: DropPolicy | None = None,
    ) -> list[Found]:
        """Returns the nearest images of each query [q, d].

        Raises InvalidArgument for a filter that does not fit the pool, and what reading the
        manifest of the policy raises.
        """
        if policy is None:
            return await self._run(_search, index, queries, hit_count, filters)
        allowed = await self._run(index.metadata.matching, filters)
        return [
            await self._search_dropping(index, query[None], hit_count, allowed, policy)
            for query in queries
        ]

    async def _search_dropping(
        self,
        index: LoadedIndex,
        query: Vectors,
        wanted: int,
        allowed: Rows | None,
        policy: DropPolicy,
    ) -> Found:
        available = index.vectors.count if allowed is None else len(allowed)
        judge = await self._dropper.judge(policy)
        hits: list[FoundImage] = []
        drops: Counter[Drop] = Counter()
        seen: dict[int, None] = {}
        for asked in _growing(wanted, available):
            found = await self._run(index.vectors.search, query, asked, allowed)
            fresh = [
                (row, similarity)
                for row, similarity in zip(
                    found.rows[0].tolist(), found.similarities[0].tolist(), strict=True
                )
                if row not in seen
            ]
            for start in range(0, len(fresh), _JUDGED):
                group = fresh[start : start + _JUDGED]
                verdicts = await judge.judge(await self._run(_pictures, index, group))
                images = await self._run(_images, index, *zip(*group, strict=True))
                for (row, _), image, drop in zip(group, images, verdicts, strict=True):
                    seen[row] = None
                    if drop is not None:
                        drops[drop] += 1
                        continue
                    hits.append(image)
                    if len(hits) == wanted:
                        return Found(hits, len(seen), drops)
        return Found(hits, len(seen), drops)

    async def _run(self, work: Callable[..., T], *arguments: Any) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, partial(work, *arguments))


def _search(
    index: LoadedIndex, queries: Vectors, hit_count: int, filters: Sequence[Filter]
) -> list[Found]:
    found = index.vectors.search(queries, hit_count, index.metadata.matching(filters))
    return [
        Found(_images(index, rows, similarities), len(rows))
        for rows, similarities in zip(found.rows, found.similarities, strict=True)
    ]


def _images(
    index: LoadedIndex, rows: Sequence[int] | Rows, similarities: Sequence[float] | Floats
) -> list[FoundImage]:
    columns = index.metadata.take(rows, _SHOWN).values()
    return [FoundImage(*values) for values in zip(*columns, similarities, strict=True)]


def _pictures(index: LoadedIndex, group: Sequence[tuple[int, float]]) -> list[Picture]:
    columns = index.metadata.take([row for row, _ in group], _TOLD_BY).values()
    return [
        Picture(uri, pixels, np.frombuffer(thumbnail, np.uint8).reshape(SIDE, SIDE))
        for uri, pixels, thumbnail in zip(*columns, strict=True)
    ]


def _growing(wanted: int, available: int) -> Iterator[int]:
    """Yields how many of the nearest to look at: more each time, until there are no more."""
    most = min(available, _MOST_SEARCHED)
    for growth in range(1, GROWTH + 1):
        asked = min(math.ceil(MARGIN * wanted * growth), most)
        if asked:
            yield asked
        if asked == most:
            return
