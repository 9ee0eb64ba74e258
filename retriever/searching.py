"""Searches of an index: filters, and drops that are made up for from further away."""

import asyncio
import math
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import faiss
import numpy as np

from imaging.fingerprint import SIDE
from retriever.dropping import Drop, Dropper, DropPolicy, Judge, Picture
from retriever.encoder import Vectors
from retriever.index.base import Floats, Neighbours, Rows
from retriever.library import LoadedIndex
from retriever.metadata import Filter

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
        protected = await self._dropper.protected(policy)
        results = []
        for query in queries:
            judge = self._dropper.judge(policy, protected)
            search = partial(self._run, index.vectors.search, query[None], allowed=allowed)
            available = index.vectors.count if allowed is None else len(allowed)
            results.append(await self._gather(index, search, judge, hit_count, available))
        return results

    async def _gather(
        self,
        index: LoadedIndex,
        search: Callable[[int], Awaitable[Neighbours]],
        judge: Judge,
        wanted: int,
        available: int,
    ) -> Found:
        """Looks further until enough is kept."""
        found, seen = Found([], 0), set[int]()
        for asked in _growing(wanted, available):
            near = await search(asked)
            pairs = zip(near.rows[0].tolist(), near.similarities[0].tolist(), strict=True)
            fresh = [(row, similarity) for row, similarity in pairs if row not in seen]
            seen.update(row for row, _ in fresh)
            for start in range(0, len(fresh), _JUDGED):
                if len(found.hits) < wanted:
                    group = fresh[start : start + _JUDGED]
                    drops = await judge.judge(await self._run(_pictures, index, group))
                    images = await self._run(_images, index, *zip(*group, strict=True))
                    found = _extended(found, images, drops, wanted)
            if len(found.hits) == wanted:
                break
        return found

    async def _run(self, work: Callable[..., T], *arguments: Any, **named: Any) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, partial(work, *arguments, **named))


def _search(
    index: LoadedIndex, queries: Vectors, hit_count: int, filters: Sequence[Filter]
) -> list[Found]:
    found = index.vectors.search(queries, hit_count, index.metadata.matching(filters))
    return [
        Found(_images(index, rows, similarities), len(rows))
        for rows, similarities in zip(found.rows, found.similarities, strict=True)
    ]


def _extended(
    found: Found, images: Sequence[FoundImage], verdicts: Sequence[Drop | None], wanted: int
) -> Found:
    """Adds images in order until `wanted` are kept; what lies behind was not looked at."""
    hits, count, drops = list(found.hits), found.searched_count, Counter(found.drops)
    for image, drop in zip(images, verdicts, strict=True):
        if len(hits) == wanted:
            break
        count += 1
        if drop is None:
            hits.append(image)
        else:
            drops[drop] += 1
    return Found(hits, count, drops)


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
