"""How far the classifiers of a study are, in steps, so that there is a pace to show."""

from gateway.clients.trainer import OnSteps
from gateway.durable.progress import WorkProgress


class TrainingProgress:
    """Adds up the steps of all classifiers, and shows them once nothing else is being done.

    How many steps a classifier has is known once it says so; until then it is taken to have as many
    as the others on average.
    """

    def __init__(self, progress: WorkProgress) -> None:
        self._progress = progress
        self._run_count = 0
        self._trained = 0
        self._steps: dict[tuple[object, ...], int] = {}
        self._done: dict[tuple[object, ...], int] = {}

    def of(self, *run: object) -> OnSteps:
        """Returns what is told the steps of a run, which goes on with what it had done."""

        def note(done: int, total: int) -> None:
            self._done[run], self._steps[run] = done, total
            self._show()

        return note

    def finished(self, step_count: int, *run: object) -> None:
        """Counts a run that has ended, now or before the work was interrupted."""
        self._done[run] = self._steps[run] = step_count
        self._trained += 1
        self._show()

    def left_out(self, *run: object) -> None:
        """Counts a run no more: it failed."""
        self._done.pop(run, None)
        self._steps.pop(run, None)
        self._run_count = max(0, self._run_count - 1)
        self._show()

    def begin(self, run_count: int) -> None:
        """Shows from now on how far `run_count` runs are."""
        self._run_count = run_count
        self._progress.start("train", self._total(), "steps", sum(self._done.values()))
        self._show()

    def _total(self) -> int:
        known = sum(self._steps.values())
        return round(known / len(self._steps) * self._run_count) if self._steps else 0

    def _show(self) -> None:
        if self._run_count:
            self._progress.part = f"{self._trained} of {self._run_count} classifiers"
            self._progress.set("train", sum(self._done.values()), self._total(), "steps")
