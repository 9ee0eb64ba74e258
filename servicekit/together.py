"""Coroutines and threads of which none outlives the call that started them."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from functools import cache, wraps
from typing import Any, TypeVar, TypeVarTuple

Ts = TypeVarTuple("Ts")
T = TypeVar("T")


async def together(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Returns the results of all coroutines, which run at the same time, in order.

    Where one fails the others are cancelled and waited for before its error is raised;
    `asyncio.gather` would leave them running, and nothing would learn how they end.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in coroutines]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


async def to_its_end(
    call: Callable[[*Ts], T], *args: *Ts, stop: Callable[[], None] | None = None
) -> T:
    """Calls in a thread, for calls that write.

    A caller who is cancelled, however often, calls `stop` and waits for the thread to end; after
    `asyncio.to_thread` it would still be writing while a successor does the same work.
    """
    thread = asyncio.ensure_future(asyncio.to_thread(call, *args))
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        if stop is not None:
            stop()
        while not thread.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({thread})
        with suppress(Exception):  # No caller is left to tell.
            thread.result()
        raise


async def in_full(coroutine: Coroutine[Any, Any, T]) -> T:
    """Awaits a coroutine that must not be stopped half way.

    A caller who is cancelled, however often, waits for its end, and gets its error.
    """
    task = asyncio.ensure_future(coroutine)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        task.result()
        raise


def once(call: Callable[[], T]) -> Callable[[], T]:
    """Decorates what takes long and is always the same: one thread calls it, and others wait.

    With `functools.cache` each of those who ask before the first is done would do all of it.
    """
    lock, kept = threading.Lock(), cache(call)

    @wraps(call)
    def called() -> T:
        with lock:
            return kept()

    return called
