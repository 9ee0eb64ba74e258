"""Who is let in to a server, and how many. Health is open to all: probes and load balancers ask."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

import grpc

from servicekit.errors import Exhausted
from servicekit.tls.peers import PeerCheck

HEALTH, REFLECTION = "/grpc.health.", "/grpc.reflection."

# Encloses a call of a method, before anything of its request is looked at. It raises a ServiceError
# to refuse, and sees how the call ends.
Admission = Callable[[str, grpc.aio.ServicerContext], AbstractAsyncContextManager[None]]


def admit_all(method: str, context: grpc.aio.ServicerContext) -> AbstractAsyncContextManager[None]:
    """Refuses nobody."""
    return nullcontext()


def gate(peers: PeerCheck, most: int, admission: Admission) -> Admission:
    """Returns the admission of a server: `peers` decides over all calls but those of health, of
    which there are `most` at a time, and `admission`, which the service itself has, over its own
    methods."""
    calls = 0

    @asynccontextmanager
    async def admit(method: str, context: grpc.aio.ServicerContext) -> AsyncIterator[None]:
        nonlocal calls
        if method.startswith(HEALTH):
            yield
            return
        peers(context)
        if calls >= most:
            raise Exhausted(
                f"{calls} calls are being answered, and this server takes no more at a time "
                "(SERVER_MAX_CALLS); wait for them",
                reason="TOO_MANY_CALLS",
            )
        calls += 1
        try:
            is_own = not method.startswith(REFLECTION)
            async with admission(method, context) if is_own else nullcontext():
                yield
        finally:
            calls -= 1

    return admit
