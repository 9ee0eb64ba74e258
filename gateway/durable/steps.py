"""Durable steps: what they give is written down, and answered from the record after a restart."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, TypeVar

from dbos import DBOS, StepReservation
from sqlalchemy.exc import SQLAlchemyError

from gateway.durable.database import failure_of
from gateway.durable.serializer import RecordedError
from servicekit.errors import Internal

S = TypeVar("S")
T = TypeVar("T")

_ASK_AGAIN_SECONDS = 1.0
# Results that may wait to be used, besides as many again as are being made, four times.
_READY = 64

# Waits until a step may begin. What it gives is entered, and left at the step's end.
Begin = Callable[[], Awaitable[AbstractContextManager[S]]]
# Makes something, given what was entered.
Make = Callable[[S], Coroutine[Any, Any, T]]

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


def next_place() -> int:
    """Takes a place in the order of steps and returns its number. No step will ever have it."""
    return int(DBOS.reserve_step().step_id)


def leave_places(count: int) -> None:
    """Takes `count` places that no step will have."""
    for _ in range(count):
        DBOS.reserve_step()


class AtMost:
    """Lets so many at once begin; `bound` is asked again and again. A lone one always may."""

    def __init__(self, bound: Callable[[], int]) -> None:
        self._bound, self._count = bound, 0
        self._changed = asyncio.Event()

    async def begin(self) -> AbstractContextManager[None]:
        """Waits until one may begin; what is returned is left at its end."""
        while self._count >= max(1, self._bound()):
            self._changed.clear()
            with suppress(TimeoutError):  # Replicas appear while steps are at work.
                async with asyncio.timeout(_ASK_AGAIN_SECONDS):
                    await self._changed.wait()
        self._count += 1
        return self._held()

    @contextmanager
    def _held(self) -> Iterator[None]:
        try:
            yield
        finally:
            self._count -= 1
            self._changed.set()


async def step(name: str, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs one durable step now; see Step.run."""
    return await Step(name).run(function)


async def steps(
    name: str,
    functions: Sequence[Callable[[], Coroutine[Any, Any, T]]],
    *,
    begin: Begin[object],
    done: Callable[[int, T], None] = lambda number, result: None,
) -> list[T]:
    """Runs durable steps, each once `begin` lets it, and returns their results in order.

    `done` is called with each result as it comes. The first error stops the others and is raised;
    the work must end with it, since steps that were not begun have taken no place.
    """
    results: dict[int, T] = {}

    async def run(number: int, place: Step, begun: AbstractContextManager[object]) -> None:
        with begun:
            results[number] = await place.run(functions[number])
        done(number, results[number])

    await _each(range(len(functions)), begin, lambda number, begun: run(number, Step(name), begun))
    return [results[number] for number in range(len(functions))]


async def in_order(
    numbers: range,
    maker: Callable[[int], Make[S, T]],
    *,
    begin: Begin[S],
    use: Callable[[int, T], Coroutine[Any, Any, None]],
) -> None:
    """Makes something of each number, once `begin` lets it, and keeps none of the results.

    `maker` is asked in order for what makes it, which is given what was entered; that is left when
    there is a result. `use` is given each result once, in order and one at a time; while many wait
    for it, none more is begun. The first error stops the others and is raised.
    """
    ready: dict[int, T] = {}
    turn, following, begun_count = asyncio.Lock(), numbers.start, 0
    used = asyncio.Event()

    async def begin_with_room() -> AbstractContextManager[S]:
        nonlocal begun_count
        # One that takes long keeps those after it waiting, which may be several times as many.
        while len(ready) > _READY + 4 * (begun_count - (following - numbers.start) - len(ready)):
            used.clear()
            await used.wait()
        begun_count += 1
        return await begin()

    async def run(number: int, make: Make[S, T], begun: AbstractContextManager[S]) -> None:
        nonlocal following
        with begun as entered:
            ready[number] = await make(entered)
        async with turn:
            while following in ready:
                await use(following, ready.pop(following))
                following += 1
                used.set()

    await _each(numbers, begin_with_room, lambda number, begun: run(number, maker(number), begun))


async def _each(
    numbers: range,
    begin: Begin[S],
    start: Callable[[int, AbstractContextManager[S]], Coroutine[Any, Any, None]],
) -> None:
    """Starts the work on each number, once `begin` lets it, and waits for all."""
    try:
        async with asyncio.TaskGroup() as group:
            for number in numbers:
                begun = await begin()
                # Places are taken as steps begin, which is in order, so a replay finds each record.
                group.create_task(start(number, begun))
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
