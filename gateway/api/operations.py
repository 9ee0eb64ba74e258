"""The gateway's operations: durable work as google.longrunning.Operation."""

import asyncio

from google.longrunning import operations_pb2
from google.protobuf.timestamp_pb2 import Timestamp
from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.api.catalog import Catalog, Times
from gateway.api.messages import Resource, to_pb
from gateway.api.progress_messages import described
from gateway.auth.access import Access
from gateway.durable.durable import Durable
from gateway.durable.progress import WorkProgress
from gateway.durable.state import State
from servicekit.errors import NotFound, Precondition, ServiceError, Unavailable
from servicekit.statuses import to_status

_PREFIX = "operations/"


class DurableOperations:
    """The runner behind OperationsServicer. An operation is named for its resource."""

    def __init__(
        self,
        durable: Durable,
        catalog: Catalog,
        progress: dict[str, WorkProgress],
        access: Access,
    ) -> None:
        self._durable = durable
        self._catalog = catalog
        self._progress = progress
        self._access = access
        self._times: dict[str, Times] = {}  # Of what is worked on here.

    async def create(self, resource: Resource) -> operations_pb2.Operation:
        """Starts the work on a resource, or answers what the same request started before."""
        await asyncio.to_thread(self._catalog.claim, resource)
        if await asyncio.to_thread(self._catalog.finished, resource.name) is None:
            await self._durable.start(resource.name)
        return await self._operation(resource.name)

    async def get(self, name: str) -> operations_pb2.Operation:
        """Returns an operation by name. Raises NotFound, and PermissionDenied for another's."""
        subject = name.removeprefix(_PREFIX).replace(".", "/")
        await self._access.use(subject)
        is_known = self._durable.works_on(subject)
        if not is_known and not await asyncio.to_thread(self._catalog.has, subject):
            raise NotFound(
                f"there is no operation {name!r}", resource=name, reason="OPERATION_NOT_FOUND"
            )
        return await self._operation(subject)

    async def page(
        self, after: str, size: int, *, undone: bool = False
    ) -> tuple[list[operations_pb2.Operation], bool]:
        """Returns up to `size` operations with names after `after`, and whether there are more.

        With `undone`, of work that has not ended; what a study makes is not among it, the study is.
        """
        open_subjects = await self._durable.open_subjects() if undone else None

        def subjects() -> list[str]:
            every = self._catalog.every_name() if open_subjects is None else open_subjects
            names = (one for one in every if _named(one) > after)
            return sorted(self._access.visible(names), key=_named)

        rest = await asyncio.to_thread(subjects)
        return [await self._operation(subject) for subject in rest[:size]], len(rest) > size

    async def cancel(self, name: str) -> None:
        """Stops the work; what it had finished stays, and the same request goes on with it.

        Raises Precondition for what a study is making.
        """
        await self.get(name)
        subject = name.removeprefix(_PREFIX).replace(".", "/")
        if study := await self._maker(subject, await self._durable.state(subject)):
            raise Precondition(
                f"{name} is part of {study}; cancel {_named(study)}",
                subject=name,
                reason="PART_OF_STUDY",
            )
        await self._durable.cancel(subject)

    async def delete(self, name: str) -> None:
        """Refuses: an operation is kept as long as its resource."""
        raise Precondition(
            f"{name} is kept as long as what it made; delete nothing",
            subject=name,
            reason="OPERATION_KEPT",
        )

    async def _operation(self, subject: str) -> operations_pb2.Operation:
        operation = operations_pb2.Operation(name=_named(subject))
        # The work writes its resource before it ends, so its end is looked up first: the other way
        # round, work that ends between the two looks would seem to have made nothing.
        state = await self._durable.state(subject)
        progress = self._told(subject, state)
        finished, times = await self._end(subject, state)
        if finished is not None:
            operation.done = True
            operation.response.Pack(to_pb(finished))
            _set(progress.end_time, times.ended)
        elif not await self._maker(subject, state) and (error := _error(subject, state)):
            operation.done = True
            operation.error.CopyFrom(to_status(error, "gateway"))
            _set(progress.end_time, state.changed if state else 0.0)
        _set(progress.create_time, times.created)
        operation.metadata.Pack(progress)
        return operation

    async def _end(self, subject: str, state: State | None) -> tuple[Resource | None, Times]:
        """Returns the finished resource, None if it is not finished, and its times.

        While this process does the work, as callers poll for, the store is looked at once: each
        look would wait for threads that are busy with the work.
        """
        if state is not None and self._durable.works_on(subject):
            if subject not in self._times:
                self._times[subject] = await asyncio.to_thread(self._catalog.times, subject)
            return None, self._times[subject]
        self._times.pop(subject, None)
        return await asyncio.to_thread(self._catalog.finished_and_times, subject)

    async def _maker(self, subject: str, state: State | None) -> str:
        """Returns the study that makes a resource among its own work, and runs; "" if none does."""
        if state is not None:
            return ""
        study = (await asyncio.to_thread(self._catalog.times, subject)).study
        if not study or (await asyncio.to_thread(self._catalog.finished, subject)) is not None:
            return ""
        made_by = await self._durable.state(study)
        return study if made_by is not None and made_by.status == "running" else ""

    def _told(self, subject: str, state: State | None) -> pb.OperationProgress:
        """Returns what is known of the progress: most by the process that does the work."""
        if state is not None and state.progress is not None:
            return pb.OperationProgress.FromString(state.progress)
        return described(self._progress.get(subject))


def _error(subject: str, state: State | None) -> ServiceError | None:
    """Returns what the work ended with, if it failed."""
    if state is None or state.status == "done":
        # Done without a resource: its objects were taken away.
        text = f"the work on {subject} was not started; ask for it again"
        return Unavailable(text, reason="NOT_STARTED")
    return state.error


def _set(time: Timestamp, seconds: float) -> None:
    """Sets a time, if it is known."""
    if seconds:
        time.FromMicroseconds(round(seconds * 1e6))


def _named(subject: str) -> str:
    """Returns the name of the operation that makes a resource."""
    return _PREFIX + subject.replace("/", ".")
