"""Calls about many items, each of which has an answer of its own."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import TypeVar

import grpc

from gateway.clients.faults import is_lasting, is_passing
from gateway.clients.patience import Patience
from gateway.clients.replicas import Replicas
from servicekit.errors import ServiceError, Unavailable
from servicekit.statuses import from_rpc_error

S = TypeVar("S")
T = TypeVar("T")

# Each answer of a call, with its key; and what makes a call about some keys.
Answers = AsyncGenerator[tuple[str, T | ServiceError], None]
Ask = Callable[[S, Sequence[str]], Answers[T]]


async def ask_for_all(
    replicas: Replicas[S],
    keys: Sequence[str],
    ask: Ask[S, T],
    patience: Patience,
    *,
    job: str = "",
    started: Callable[[], None] = lambda: None,
) -> dict[str, T | ServiceError]:
    """Returns the answer about each key, which may be an error of that key alone.

    What passes is asked for again, at the same replica or another, and what was answered is not.
    Raises ServiceError if the service stays away, refuses the call, or has an error that would meet
    other keys alike.
    """
    found: dict[str, T | ServiceError] = {}

    async def attempt(stub: S) -> None:
        missing = [key for key in keys if key not in found]
        trouble: ServiceError | None = None
        try:
            async with aclosing(ask(stub, missing)) as answers:
                async for key, answer in answers:
                    if isinstance(answer, ServiceError) and is_passing(answer):
                        trouble = answer
                    elif isinstance(answer, ServiceError) and is_lasting(answer):
                        raise answer
                    else:
                        found[key] = answer
        except grpc.aio.AioRpcError as error:
            trouble = from_rpc_error(error)
        left = sum(key not in found for key in missing)
        if left < len(missing):
            patience.succeeded()
        if left:
            message = f"{left} of {len(missing)} items have no answer"
            raise trouble or Unavailable(message, reason="UNANSWERED")

    await replicas.call(len(keys), attempt, patience, job=job, started=started)
    return found
