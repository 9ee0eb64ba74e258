"""Who is let in to a server. Health is open to all: probes and load balancers ask it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

import grpc

from servicekit.tls.peers import PeerCheck

HEALTH, REFLECTION = "/grpc.health.", "/grpc.reflection."

# Encloses a call of a method, before anything of its request is looked at. It raises a ServiceError
# to refuse, and sees how the call ends.
Admission = Callable[[str, grpc.aio.ServicerContext], AbstractAsyncContextManager[None]]


def admit_all(method: str, context: grpc.aio.ServicerContext) -> AbstractAsyncContextManager[None]:
    """Refuses nobody."""
    return nullcontext()


def gate(peers: PeerCheck, admission: Admission) -> Admission:
    """Returns the admission of a server: `peers` decides over all calls but those of health, and
    `admission`, which the service itself has, over its own methods."""

    @asynccontextmanager
    async def admit(method: str, context: grpc.aio.ServicerContext) -> AsyncIterator[None]:
        if method.startswith(HEALTH):
            yield
            return
        peers(context)
        if method.startswith(REFLECTION):
            yield
            return
        async with admission(method, context):
            yield

    return admit
