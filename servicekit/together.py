"""Coroutines side by side, of which none outlives the call that started them."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")


async def together(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Returns the results of all coroutines, which run at the same time, in order.

    Where one fails the others are cancelled and waited for before its error is raised;
    `asyncio.gather` would leave them running, with nobody to hear of what they do.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in coroutines]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]
