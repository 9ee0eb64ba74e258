"""Durable steps: what they give is written down, and answered from the record after a restart."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, TypeVar

from dbos import DBOS, StepReservation
from sqlalchemy.exc import SQLAlchemyError

from gateway.run.database import failure_of
from gateway.run.serializer import RecordedError
from servicekit.errors import Internal
from servicekit.together import together

S = TypeVar("S")
T = TypeVar("T")

_log = logging.getLogger(__name__)


class _Failed(BaseException):
    """Carries an error past DBOS, which would record any other as the step's result."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class Step:
    """A durable step whose place in the order of steps is taken now and which runs later."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._place: StepReservation = DBOS.reserve_step()

    async def run(self, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Returns the result of `function`, which is plain data, or the recorded one.

        An error is raised and not recorded: a full disk or a service that is away is no
        result, and the step is tried again when the work goes on. Raises ServiceError if the
        database cannot be used.
        """

        async def attempt() -> T:
            try:
                return await function()
            except Exception as error:
                raise _Failed(error) from error

        try:
            value: T = await self._place.run_async({"name": self._name}, attempt)
        except _Failed as failed:
            raise failed.error from None
        except SQLAlchemyError as error:
            raise failure_of(error) from error
        except RecordedError as error:
            _log.error("the step %s failed before the restart: %s", self._name, error)
            raise Internal("the work failed; the gateway's log has the trace") from error
        return value


async def step(name: str, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs one durable step now; see Step.run."""
    return await Step(name).run(function)


async def steps(
    name: str,
    functions: Sequence[Callable[[], Coroutine[Any, Any, T]]],
    *,
    in_flight: int,
    done: Callable[[int, T], None] = lambda number, result: None,
) -> list[T]:
    """Runs durable steps, `in_flight` at a time, and returns their results in order.

    `done` hears of each result as it comes. The first error stops the others and is raised; the
    work must end with it, since steps that were not begun have taken no place.
    """
    results: dict[int, T] = {}
    numbers = iter(range(len(functions)))

    async def work() -> None:
        for number in numbers:
            # Places are taken as steps begin, which is in order, so a replay finds each record.
            place = Step(name)
            results[number] = await place.run(functions[number])
            done(number, results[number])

    await together(work() for _ in range(min(in_flight, len(functions))))
    return [results[number] for number in range(len(functions))]


async def steps_in_order(
    name: str,
    count: int,
    make: Callable[[int, S], Coroutine[Any, Any, T]],
    *,
    begin: Callable[[], Awaitable[AbstractContextManager[S]]],
    use: Callable[[int, T], Coroutine[Any, Any, None]],
) -> None:
    """Runs `count` durable steps, each once `begin` lets it, and keeps none of their results.

    `make` gets its number and what was entered; that is left when the step has its result. `use`
    is given each result once, in order and one at a time. Errors are as those of `steps`.
    """
    ready: dict[int, T] = {}
    turn, following = asyncio.Lock(), 0

    async def run(number: int, place: Step, begun: AbstractContextManager[S]) -> None:
        nonlocal following
        with begun as entered:
            ready[number] = await place.run(partial(make, number, entered))
        async with turn:
            while following in ready:
                await use(following, ready.pop(following))
                following += 1

    try:
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                begun = await begin()
                # Places are taken as steps begin, which is in order, so a replay finds each record.
                group.create_task(run(number, Step(name), begun))
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
