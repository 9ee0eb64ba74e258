"""How far the classifiers of a study are, in steps, so that there is a pace to show."""

from gateway.clients.trainer import OnSteps
from gateway.durable.progress import Progress


class TrainingProgress:
    """Adds up the steps of all classifiers, and shows them once nothing else is being done.

    Every classifier of a study has as many steps; how many is known from the first that says so.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._run_count = 0
        self._trained = 0
        self._step_count = 0
        self._running: dict[tuple[object, ...], int] = {}

    def of(self, *run: object) -> OnSteps:
        """Returns what is told the steps of a run, which goes on with what it had done."""

        def note(done: int, total: int) -> None:
            self._running[run], self._step_count = done, total
            self._show()

        return note

    def finished(self, step_count: int, *run: object) -> None:
        """Counts a run that has ended, now or before the work was interrupted."""
        self._running.pop(run, None)
        self._step_count = step_count
        self._trained += 1
        self._show()

    def begin(self, run_count: int) -> None:
        """Shows from now on how far `run_count` runs are."""
        self._run_count = run_count
        self._progress.start("train", run_count * self._step_count, "steps", self._done())
        self._show()

    def _done(self) -> int:
        return self._trained * self._step_count + sum(self._running.values())

    def _show(self) -> None:
        if self._run_count:
            self._progress.part = f"{self._trained} of {self._run_count} classifiers"
            total = self._run_count * self._step_count
            self._progress.set("train", self._done(), total, "steps")
