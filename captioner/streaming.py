"""Bounded concurrency over a stream of requests."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def map_unordered(
    work: Callable[[T], Awaitable[R]], requests: AsyncIterator[T], *, window: int
) -> AsyncGenerator[R, None]:
    """Yields the results of `work` as they come, with at most `window` requests in hand.

    The next request is read only when there is room for it, so gRPC's flow control reaches the
    sender. What was read before `requests` failed is still answered; then the error is raised.
    """
    running: set[asyncio.Task[R]] = set()
    reading: asyncio.Task[T] | None = None
    ended: Exception | None = None
    try:
        while True:
            if ended is None and reading is None and len(running) < window:
                reading = asyncio.create_task(_next(requests))
            waiting = {*running, *([reading] if reading else [])}
            if not waiting:
                break
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if reading in done:
                try:
                    running.add(asyncio.create_task(_run(work, reading.result())))
                except Exception as error:
                    ended = error
                reading = None
            for task in running & done:
                running.discard(task)
                yield task.result()
    finally:
        await _stop({*running, *([reading] if reading else [])})
    if not isinstance(ended, _EndOfStreamError):
        raise ended or RuntimeError("a request stream ended without saying so")


class _EndOfStreamError(Exception):
    """StopAsyncIteration cannot leave a task; this can."""


async def _next(requests: AsyncIterator[T]) -> T:
    try:
        return await anext(requests)
    except StopAsyncIteration:
        raise _EndOfStreamError from None


async def _run(work: Callable[[T], Awaitable[R]], request: T) -> R:
    return await work(request)


async def _stop(tasks: Collection["asyncio.Task[Any]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
