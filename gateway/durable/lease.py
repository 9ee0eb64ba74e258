"""The life of one gateway among several on PostgreSQL: a lease that it renews.

No other takes its work over before the lease has run out by the database's clock, and it stops its
own work before that by its own: a renewal counts from before it was asked for, and only for a part
of its time. Where the clock stood still for a while, frozen or asleep, the work stops as soon as
the process turns again, and what it still tries to write down is refused by the database.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError

from gateway.durable.fleet import Fleet
from gateway.durable.peers import Describe

T = TypeVar("T")

# Of the lease's time: how often it is renewed, and when work stops without a renewal.
_RENEWED, _STOPPED = 1 / 6, 3 / 4
_LONGEST_PAUSE, _CLAIMING_PAUSE = 2.0, 0.25
_log = logging.getLogger(__name__)


class Lease:
    """What a gateway does to live and to claim work, and what it is told of others."""

    def __init__(self, database_url: str, name: str, seconds: float, describe: Describe) -> None:
        self._fleet = Fleet(database_url, seconds)
        self._name, self._seconds, self._describe = name, seconds, describe
        self.pause = min(_LONGEST_PAUSE, seconds * _RENEWED)
        self._me = ""
        self._held_until = 0.0
        self._held: dict[str, str] = {}  # Subjects that are worked on here, by claim.
        self._told: dict[str, bytes] = {}
        self._over: dict[str, bytes] = {}  # Claims to release, with the last progress.
        # Of its own, so that a renewal never waits for a thread that waits for the database.
        self._renewing = ThreadPoolExecutor(1, "lease")
        self._looking = ThreadPoolExecutor(4, "fleet")

    async def join(self, version: str) -> str:
        # Another id each time: two gateways of one name do not mistake each other's work.
        self._me = f"{self._name}.{uuid.uuid4().hex[:12]}"
        self._told.clear()
        self._over.clear()
        asked = _now()
        await self._ask(self._fleet.make_tables)
        await self._ask(lambda: self._fleet.join(self._me, version, self._seconds))
        self._held_until = asked + self._seconds * _STOPPED
        return self._me

    async def kept(self) -> str:
        renewing = asyncio.create_task(self._renew())
        try:
            while (left := self._held_until - _now()) > 0:
                # No longer than a second, for while the machine sleeps the loop's clock stands.
                await asyncio.wait({renewing}, timeout=min(left, 1.0))
                if renewing.done():
                    renewing.result()
                    return "others found that it had not renewed its lease in time"
            return f"it could not renew its lease of {self._seconds:g} s in time"
        finally:
            renewing.cancel()

    async def _renew(self) -> None:
        """Renews the lease until that is refused."""
        while True:
            await asyncio.sleep(self._seconds * _RENEWED)
            asked = _now()
            try:
                if not await self._ask(partial(self._fleet.renew, self._me, self._seconds)):
                    return
            except SQLAlchemyError as error:
                _log.warning("the lease could not be renewed: %s", str(error).splitlines()[0])
            else:
                self._held_until = asked + self._seconds * _STOPPED

    def holds(self) -> bool:
        return self._held_until > _now()

    async def leave(self) -> None:
        if not self._me:
            return
        self._held_until = 0.0
        try:
            await self._ask(lambda: self._fleet.leave(self._me))
        except SQLAlchemyError as error:
            _log.warning(
                "the others wait until this gateway's lease has run out: %s",
                str(error).splitlines()[0],
            )
        self._fleet.close()

    async def living(self) -> Mapping[str, str]:
        for dead in await self._look(self._fleet.bury):
            _log.warning("the gateway %s has not renewed its lease; its work is taken over", dead)
        return await self._look(self._fleet.living)

    @asynccontextmanager
    async def claimed(self, subject: str) -> AsyncIterator[None]:
        claim = uuid.uuid4().hex
        attempt = asyncio.create_task(self._claim(subject, claim))
        try:
            while not await asyncio.shield(attempt):
                await asyncio.sleep(_CLAIMING_PAUSE)
                attempt = asyncio.create_task(self._claim(subject, claim))
            self._held[claim] = subject
            yield
        finally:
            await asyncio.wait({attempt})  # Or it would claim what is released already.
            self._held.pop(claim, None)
            self._over[claim] = self._describe(subject)
            if self.holds():  # Otherwise it is released already.
                await self._release()

    async def _claim(self, subject: str, claim: str) -> bool:
        try:
            return await self._look(lambda: self._fleet.claim(self._me, subject, claim))
        except SQLAlchemyError as error:
            _log.warning("%s waits for the database: %s", subject, str(error).splitlines()[0])
            return False

    async def _release(self) -> None:
        try:
            for claim, progress in list(self._over.items()):
                await self._look(partial(self._fleet.release, claim, progress))
                self._over.pop(claim, None)
        except SQLAlchemyError as error:
            # The next note releases it, or the end of the lease.
            _log.warning("work is not released yet: %s", str(error).splitlines()[0])

    async def note(self) -> None:
        await self._release()
        now = {claim: self._describe(subject) for claim, subject in self._held.items()}
        for claim, progress in now.items():
            if progress != self._told.get(claim):
                await self._look(partial(self._fleet.note, claim, progress))
        self._told = now

    async def progress(self, subject: str) -> bytes | None:
        return await self._look(lambda: self._fleet.progress(subject))

    async def forget(self, subject: str) -> None:
        await self._look(lambda: self._fleet.forget(subject))

    async def _ask(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._renewing, function)

    async def _look(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._looking, function)


def _now() -> float:
    """Returns seconds that also pass while the machine sleeps, where the system has them."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
