"""What every launcher is: where runs train, and how they are started, followed and ended."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from trainer.runs import JobRequest, JobResult


@dataclass(frozen=True)
class Report:
    """Metrics of one step by name, and the images trained on per second since the report before.

    The rate is 0 in reports on steps that were done before an interruption.
    """

    step: int
    values: Mapping[str, float]
    images_per_second: float


OnReport = Callable[[Report], None]


class Launcher(Protocol):
    """Starts runs that were admitted to the store. All of a run that lasts is in the store.

    A run is known by its name, "COLLECTION/ID", which says its kind too.
    """

    async def load(self) -> None:
        """Raises a ServiceError that says why nothing can be started here."""

    def check(self, request: JobRequest, cache_entries: Mapping[str, int]) -> None:
        """Raises a ServiceError for a run that can never be started here.

        `cache_entries` are the images that it needs on disk: bytes by name.
        """

    async def device_kind(self) -> str:
        """The kind of device that runs are trained on, "cpu" or "cuda"."""

    async def start(self, run: str, request: JobRequest) -> None:
        """Starts a run, or finds it again where it goes on; a no-op if it is followed already."""

    async def follow(self, run: str, on_report: OnReport) -> JobResult:
        """Returns the result of a started run; raises the ServiceError that ended it.

        Every step's report is given at least once, in order. Cancelling stops the following alone.
        """

    async def cancel(self, run: str) -> None:
        """Ends a run. Nothing of it writes any more when this returns."""

    async def found(self) -> Sequence[str]:
        """The names of runs that an earlier trainer started and that went on without it."""

    async def close(self) -> None:
        """Lets go of everything. Runs that can go on without this process do."""
