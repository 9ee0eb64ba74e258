"""Micro-batching: many small calls become few full ones, in one worker thread."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from typing import Generic, TypeVar

from servicekit.errors import Exhausted, Unavailable
from servicekit.workload import Pace, Workload

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class BatchStats:
    """What a batcher has done so far."""

    item_count: int
    batch_count: int
    waiting_count: int


@dataclass(frozen=True)
class _Waiting(Generic[T, R]):
    item: T
    key: Hashable
    future: "Future[R]"
    arrived: float


class MicroBatcher(Generic[T, R]):
    """Collects items and runs them in batches.

    `run` gets at most `max_batch` items of equal key and returns one result or exception per item,
    in order. A lone item waits at most `max_wait_seconds` for company. More than `max_queue`
    waiting items are refused with Exhausted. A cancelled item that has not started is not run.
    """

    def __init__(
        self,
        run: Callable[[Sequence[T]], Sequence[R | Exception]],
        *,
        max_batch: int,
        max_wait_seconds: float,
        max_queue: int,
        name: str,
        key: Callable[[T], Hashable] = lambda item: None,
    ) -> None:
        self._run, self._key, self._name = run, key, name
        self._max_batch, self._max_wait, self._max_queue = max_batch, max_wait_seconds, max_queue
        self._waiting: deque[_Waiting[T, R]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._item_count = self._batch_count = self._running_count = 0
        self._last_count, self._pace = 0, Pace()
        self._thread = threading.Thread(target=self._work, name=f"{name}-batcher", daemon=True)
        self._thread.start()

    async def submit(self, item: T) -> R:
        """Returns the result of `item`; raises what `run` returned or raised for it."""
        return await asyncio.wrap_future(self.submit_future(item))

    def submit_future(self, item: T) -> "Future[R]":
        """Enqueues `item` and returns its future. Raises Exhausted if the queue is full."""
        future: Future[R] = Future()
        with self._changed:
            if self._closed:
                raise Unavailable(f"{self._name} is shutting down", reason="SHUTTING_DOWN")
            if len(self._waiting) >= self._max_queue:
                raise Exhausted(
                    f"{self._name} has {len(self._waiting)} items waiting, the most it takes; "
                    "try again shortly",
                    retry_after=max(self._max_wait * 4, 0.25),
                    metadata={"queue": self._name, "limit": str(self._max_queue)},
                )
            entry = _Waiting(item, self._key(item), future, time.monotonic())
            self._waiting.append(entry)
            self._changed.notify()
        return future

    def stats(self) -> BatchStats:
        """Returns counts since the start."""
        with self._changed:
            return BatchStats(self._item_count, self._batch_count, len(self._waiting))

    def workload(self) -> Workload:
        """Returns what there is to do now."""
        with self._changed:
            waiting = len(self._waiting)
            return Workload(
                waiting,
                self._running_count,
                self._last_count,
                self._max_batch,
                waiting * self._pace.seconds,
            )

    async def close(self) -> None:
        """Finishes what is running, refuses what waits, and ends the thread."""
        with self._changed:
            self._closed = True
            waiting, self._waiting = list(self._waiting), deque()
            self._changed.notify()
        for entry in waiting:
            _fail(entry.future, Unavailable(f"{self._name} shut down", reason="SHUTTING_DOWN"))
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        while batch := self._next_batch():
            started = [entry for entry in batch if entry.future.set_running_or_notify_cancel()]
            if started:
                self._run_batch(started)

    def _next_batch(self) -> list[_Waiting[T, R]]:
        """Waits for items, then for company, and takes the first that fit together."""
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            while not self._closed and self._waiting and not self._is_full():
                remaining = self._waiting[0].arrived + self._max_wait - time.monotonic()
                if remaining <= 0:
                    break
                self._changed.wait(remaining)
            return self._take()

    def _is_full(self) -> bool:
        if len(self._waiting) < self._max_batch:
            return False
        key = self._waiting[0].key
        return sum(entry.key == key for entry in self._waiting) >= self._max_batch

    def _take(self) -> list[_Waiting[T, R]]:
        batch: list[_Waiting[T, R]] = []
        rest: deque[_Waiting[T, R]] = deque()
        for entry in self._waiting:
            fits = len(batch) < self._max_batch and (not batch or entry.key == batch[0].key)
            (batch if fits else rest).append(entry)
        self._waiting = rest
        return batch

    def _run_batch(self, batch: list[_Waiting[T, R]]) -> None:
        results: Sequence[R | Exception]
        began = time.monotonic()
        with self._changed:
            self._running_count = self._last_count = len(batch)
        try:
            results = self._run([entry.item for entry in batch])
            if len(results) != len(batch):
                raise RuntimeError(f"{self._name}: {len(results)} results for {len(batch)} items")
        except Exception as error:
            results = [error] * len(batch)
        with self._changed:
            self._item_count += len(batch)
            self._batch_count += 1
            self._running_count = 0
            self._pace.note(time.monotonic() - began, len(batch))
        for entry, result in zip(batch, results, strict=True):
            if isinstance(result, Exception):
                _fail(entry.future, result)
            else:
                entry.future.set_result(result)


def _fail(future: "Future[R]", error: Exception) -> None:
    try:
        future.set_exception(error)
    except InvalidStateError:
        return  # Its caller cancelled it; no one waits for the error.
