"""The replicas of a service: a channel each, and every call to the one with the most room."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import grpc
from google.protobuf.descriptor import ServiceDescriptor

from gateway.clients.addresses import addresses_of
from gateway.clients.fairness import FairQueue
from gateway.clients.faults import is_passing
from gateway.clients.patience import Patience
from servicekit.channels import open_channel
from servicekit.errors import ServiceError, Unavailable
from servicekit.statuses import from_rpc_error
from servicekit.targets import Target
from servicekit.tls.certificates import Certificates

_log = logging.getLogger(__name__)

# How often the name is looked up: a new replica gets calls after at most so many seconds.
_LOOK_UP_SECONDS = 5.0
# How long a replica whose call failed is passed by, doubled at each failure in a row.
_FIRST_REST, _LONGEST_REST = 0.2, 10.0
# In flight at a replica, in what it works on at once: as much waits there, so it is never idle.
_DEPTH = 2

S = TypeVar("S")
T = TypeVar("T")


@dataclass(eq=False)
class Replica(Generic[S]):
    """One replica. `capacity` is 0 until it was asked for; until then it gets one call."""

    address: str
    channel: grpc.aio.Channel
    stub: S
    used: int = 0
    capacity: int = 0
    is_ready: bool = False
    is_gone: bool = False  # Its address is no longer behind the name.
    rests_until: float = 0.0
    rest: float = _FIRST_REST
    tasks: list["asyncio.Task[None]"] = field(default_factory=list)

    def fits(self, size: int) -> bool:
        """Says whether a call of that size may be in flight, too."""
        return not self.used or self.used + size <= self.capacity * _DEPTH

    def load(self) -> float:
        """Returns how full it is: 0 is idle, 1 has as much waiting as it works on."""
        return self.used / (self.capacity * _DEPTH or 1)


class Replicas(Generic[S]):
    """Follows the replicas behind a target. Opened on first use, in the loop that uses it.

    A replica is called by a stub that `stub_of` makes of its channel. It is ready while its health
    service says so. One that drains or dies gets no further calls; one whose address is gone is
    closed when its last call has ended. `capacity_of` asks one what it works on at once, in the
    units of the calls' sizes. With `certificates` replicas are called with TLS; each shows a
    certificate for the target's host, as replicas have no names of their own.
    """

    def __init__(
        self,
        target: str,
        service: ServiceDescriptor,
        stub_of: Callable[[grpc.aio.Channel], S],
        capacity_of: Callable[[S], Awaitable[int]],
        certificates: Certificates | None,
    ) -> None:
        self._target, self._service = target, service
        self._certificates = certificates
        self._stub_of, self._capacity_of = stub_of, capacity_of
        self._replicas: dict[str, Replica[S]] = {}
        self._queue: FairQueue[Replica[S]] = FairQueue(self._find)
        self._following: asyncio.Task[None] | None = None
        self._looked_up = asyncio.Event()
        self._look_again = asyncio.Event()
        self._trouble: Unavailable | None = None

    def capacity(self) -> int:
        """Returns what all ready replicas work on at once, at least 1."""
        return max(1, sum(one.capacity for one in self._replicas.values() if one.is_ready))

    def ready_count(self) -> int:
        """Returns how many replicas are ready, at least 1."""
        return max(1, sum(one.is_ready for one in self._replicas.values()))

    async def largest_call(self, most: int, patience: Patience) -> int:
        """Returns the size of calls that keep every replica full: what the smallest works on.

        Raises ServiceError if none says within `patience` what it works on.
        """
        known = [one.capacity for one in self._replicas.values() if one.capacity]
        if not known:
            known = [max(1, await self.call(1, self._capacity_of, patience))]
        return min([most, *known])

    async def call(
        self,
        size: int,
        attempt: Callable[[S], Awaitable[T]],
        patience: Patience,
        *,
        job: str = "",
        started: Callable[[], None] = lambda: None,
    ) -> T:
        """Returns what `attempt` returns at the replica with the most room.

        What passes is tried again: at once where another replica is ready, else with `patience`,
        whose error is raised. `started` is called once, when the first attempt begins.
        """
        while True:
            try:
                replica = await self._enter(size, job)
            except Unavailable as error:
                await patience.wait_after(error)
                continue
            try:
                started()
                started = _nothing
                while True:
                    try:
                        answer = await attempt(replica.stub)
                    except grpc.aio.AioRpcError as error:
                        trouble = from_rpc_error(error)
                    except ServiceError as error:
                        trouble = error
                    else:
                        replica.rest, replica.rests_until = _FIRST_REST, 0.0
                        return answer
                    # What does not pass is the call's fault, and no reason to spare the replica.
                    if not is_passing(trouble) or not self._failed(replica):
                        # Its room stays taken: others would only hear the same.
                        await patience.wait_after(trouble)
                    if self._others(replica) or replica.is_gone:
                        break
            finally:
                self._queue.leave(replica, size)
                await self._close_if_gone(replica)

    async def call_each(self, attempt: Callable[[S], Awaitable[T]], patience: Patience) -> list[T]:
        """Returns what `attempt` returns at every replica that can be reached, at least one.

        One that cannot be reached now is left out; what is an answer and an error is raised.
        """
        found = [await self.call(1, attempt, patience)]
        others = [one for one in self._replicas.values() if not one.is_gone]
        for answer in await asyncio.gather(
            *(attempt(one.stub) for one in others), return_exceptions=True
        ):
            if isinstance(answer, grpc.aio.AioRpcError):
                if not is_passing(trouble := from_rpc_error(answer)):
                    raise trouble from answer
            elif isinstance(answer, BaseException):
                raise answer
            else:
                found.append(answer)
        return found

    def _failed(self, replica: Replica[S]) -> bool:
        """Lets a replica rest whose call failed; says whether another one is ready."""
        loop = asyncio.get_running_loop()
        replica.rests_until = loop.time() + replica.rest
        loop.call_later(replica.rest, self._queue.admit)
        replica.rest = min(replica.rest * 2, _LONGEST_REST)
        self._look_again.set()
        return self._others(replica)

    def _others(self, replica: Replica[S]) -> bool:
        return any(one is not replica for one in self._usable())

    async def _enter(self, size: int, job: str) -> Replica[S]:
        """Waits for a replica with room. Raises Unavailable if the name has no address."""
        self._follow()
        await self._looked_up.wait()
        if not self._replicas and self._trouble is not None:
            raise self._trouble
        return await self._queue.enter(size, job)

    async def close(self) -> None:
        """Closes all channels."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        for replica in list(self._replicas.values()):
            await self._close(replica)

    def _find(self, size: int) -> Replica[S] | None:
        """Returns the ready replica that is least full; any one if none is ready.

        A call to one that is not ready tells why: it fails, or waits while it connects.
        """
        usable = self._usable() or [one for one in self._replicas.values() if not one.is_gone]
        best = min(usable, key=_fullness, default=None)
        if best is None or best.fits(size):
            return best
        fitting = [one for one in usable if one.fits(size)]  # Where replicas differ in size.
        return min(fitting, key=_fullness, default=None)

    def _usable(self) -> list[Replica[S]]:
        now = asyncio.get_running_loop().time()
        return [
            one
            for one in self._replicas.values()
            if one.is_ready and not one.is_gone and one.rests_until <= now
        ]

    def _follow(self) -> None:
        if self._following is None:
            self._following = asyncio.create_task(self._look_up(), name=f"follow {self._target}")

    async def _look_up(self) -> None:
        while True:
            self._look_again.clear()
            try:
                found = await addresses_of(self._target)
            except Unavailable as error:
                if self._trouble is None:
                    _log.warning("%s; the replicas stay those known before", error)
                self._trouble = error
                if not self._replicas:
                    self._queue.fail(error)
            else:
                self._trouble = None
                await self._keep(set(found))
            self._looked_up.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_UP_SECONDS):
                    await self._look_again.wait()
            await asyncio.sleep(_FIRST_REST)  # A name is not asked for without a pause.

    async def _keep(self, addresses: set[str]) -> None:
        for address in addresses - self._replicas.keys():
            channel = open_channel(
                address,
                self._service,
                follows_health=True,
                certificates=self._certificates,
                server_name=Target.of(self._target).host,
            )
            replica = Replica(address, channel, self._stub_of(channel))
            self._replicas[address] = replica
            replica.tasks.append(asyncio.create_task(self._watch(replica), name=f"watch {address}"))
        for address, replica in list(self._replicas.items()):
            replica.is_gone = address not in addresses
            await self._close_if_gone(replica)
        self._queue.admit()

    async def _watch(self, replica: Replica[S]) -> None:
        """Follows the state of a replica's channel, and asks what it works on at once."""
        while True:
            state = replica.channel.get_state(try_to_connect=True)
            was_ready, replica.is_ready = replica.is_ready, state is grpc.ChannelConnectivity.READY
            if replica.is_ready and not replica.capacity:
                with suppress(grpc.aio.AioRpcError):
                    replica.capacity = max(1, await self._capacity_of(replica.stub))
            if was_ready and not replica.is_ready:
                replica.capacity = 0  # What answers there next may be set up otherwise.
                self._look_again.set()
            self._queue.admit()
            # A replica that did not say what it works on is asked again.
            unanswered = replica.is_ready and not replica.capacity
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_UP_SECONDS if unanswered else None):
                    await replica.channel.wait_for_state_change(state)

    async def _close_if_gone(self, replica: Replica[S]) -> None:
        if replica.is_gone and not replica.used:
            await self._close(replica)

    async def _close(self, replica: Replica[S]) -> None:
        if self._replicas.get(replica.address) is replica:
            del self._replicas[replica.address]
        for task in replica.tasks:
            task.cancel()
        await asyncio.gather(*replica.tasks, return_exceptions=True)
        await replica.channel.close()


def _fullness(replica: Replica[Any]) -> tuple[float, int]:
    return replica.load(), replica.used


def _nothing() -> None:
    pass
