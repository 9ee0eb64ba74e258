"""Parts of a work that may fail for good while the work goes on without them.

The steps of a failed part are gone through no more when the work is taken up again, so that none
of them can come to another result then; the places that they had are left out. That a part failed
is written into the object store, since errors are no results of steps.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TypeVar

from gateway.clients.faults import is_lasting, is_passing
from gateway.durable.steps import leave_places, next_place
from servicekit.errors import Cancelled, ServiceError
from servicekit.storage import ObjectStore, delete_many

T = TypeVar("T")

# Not of the part: the work as a whole has to wait for somebody to do something.
_OF_THE_SYSTEM = {"MODELS_CHANGED", "DATABASE_UNUSABLE"}


class GivenUp(Exception):
    """A part failed for good. Its text is the reason, for people."""


def is_final(error: ServiceError) -> bool:
    """Says whether an error would come again however often the same was asked for."""
    if isinstance(error, Cancelled) or error.reason in _OF_THE_SYSTEM:
        return False
    return not is_passing(error) and not is_lasting(error)


class Attempts:
    """The parts of one work. `folder` is a prefix of the store for what failed."""

    def __init__(self, store: ObjectStore, folder: str) -> None:
        self._store, self._folder = store, folder

    def begin(self) -> None:
        """Forgets what failed in older work of the same name, whose steps are no more."""
        delete_many(self._store, list(self._store.list(f"{self._folder}/")))

    async def of(self, part: str, work: Callable[[], Awaitable[T]]) -> T:
        """Returns the result of a part, which may have steps. Raises GivenUp if it fails for good.

        Any other error is raised as it is, and the part is tried again when the work goes on.
        """
        key = f"{self._folder}/{part}.json"
        first = next_place()
        if (failure := await asyncio.to_thread(self._failure, key)) is not None:
            message, count = failure
            leave_places(count)
            raise GivenUp(message)
        try:
            return await work()
        except ServiceError as error:
            if not is_final(error):
                raise
            record = json.dumps({"message": error.message, "places": next_place() - first})
            await asyncio.to_thread(self._store.put, key, record.encode(), overwrite=True)
            raise GivenUp(error.message) from error

    def _failure(self, key: str) -> tuple[str, int] | None:
        if not self._store.exists(key):
            return None
        record = json.loads(self._store.get(key))
        return str(record["message"]), int(record["places"])
