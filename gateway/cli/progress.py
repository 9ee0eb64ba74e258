"""Progress of an operation: a live bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn

from gateway.cli.terminal import console
from servicekit.escaping import escaped

if TYPE_CHECKING:
    from variegate.trainer.v1 import trainer_pb2

_PLAIN_EVERY_SECONDS = 5.0
# Nothing new: one line now and then shows that it is alive.
_STILL_EVERY_SECONDS = 60.0


@dataclass(frozen=True)
class ProgressLine:
    """Where an operation is. `total` is 0 while unknown; `rate` is in units per second.

    `waiting` says what keeps it waiting, "" if nothing does.
    """

    stage: str
    done: int = 0
    total: int = 0
    rate: float = 0.0
    unit: str = ""
    failed: int = 0
    part: str = ""
    failures: tuple[tuple[str, str], ...] = field(default=())
    waiting: str = ""

    @property
    def title(self) -> str:
        """The part of a study, if any, and the stage."""
        return f"{self.part}: {self.stage}" if self.part else self.stage

    @property
    def pace(self) -> str:
        """For example "12.3 images/s, 1:05 left"; empty while unknown."""
        if self.rate <= 0:
            return ""
        text = f"{self.rate:.1f} {self.unit or 'items'}/s"
        if self.total > self.done:
            text += f", {clock((self.total - self.done) / self.rate)} left"
        return text


def training_line(
    progress: "trainer_pb2.CreateTrainingRunMetadata", title: str, batch_size: int = 0
) -> ProgressLine:
    """Where a training run is, or the search for its policy, which comes first.

    A batch of `batch_size` images says how fast its steps are; 0 leaves that out.
    """
    done, total = progress.done_search_step_count, progress.total_search_step_count
    if total:
        return ProgressLine("search a policy", done, total, unit="steps")
    rate = progress.images_per_second / batch_size if batch_size else 0.0
    done, total = progress.done_step_count, progress.total_step_count
    return ProgressLine(title, done, total, rate, "steps")


class View(Protocol):
    """Shows steps as they come."""

    def show(self, step: ProgressLine) -> None:
        """Shows the newest step."""

    def say(self, text: str) -> None:
        """Shows one line that stays."""

    def ask(self, question: str) -> bool:
        """Asks a person, who answers yes or no; True where there is none to ask."""


def clock(seconds: float) -> str:
    """75 -> "1:15"; 3700 -> "1:01:40"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextmanager
def view() -> Iterator[View]:
    """The view that fits stderr."""
    if not sys.stderr.isatty():
        yield PlainView()
        return
    with _bars() as bars:
        yield LiveView(bars)


class Asides:
    """What is said beside the steps, once: items that failed, and what is waited for."""

    def __init__(self) -> None:
        self._failures: set[tuple[str, str]] = set()
        self._waiting = ""

    def say(self, step: ProgressLine, say: Callable[[str], None]) -> None:
        """Says what of the step was not said yet."""
        for failure in step.failures:
            if failure not in self._failures:
                self._failures.add(failure)
                say(f"failed: {failure[0]}: {failure[1]}")
        if step.waiting != self._waiting:
            say(f"waiting for {step.waiting}" if step.waiting else "it goes on")
        self._waiting = step.waiting


class PlainView:
    """A line when the stage changes, and one every few seconds; for logs and pipes."""

    def __init__(self) -> None:
        self._title = ""
        self._done = -1
        self._said_at = 0.0
        self._asides = Asides()

    def show(self, step: ProgressLine) -> None:
        """Prints the step unless one of the same stage was printed lately."""
        now = time.monotonic()
        self._asides.say(step, self.say)
        pause = _PLAIN_EVERY_SECONDS if step.done != self._done else _STILL_EVERY_SECONDS
        if step.title == self._title and now - self._said_at < pause:
            return
        self._title, self._done, self._said_at = step.title, step.done, now
        parts = [step.title]
        if step.total:
            parts.append(f"{step.done}/{step.total} {step.unit}".rstrip())
        parts += [step.pace] if step.pace else []
        parts += [f"{step.failed} failed"] if step.failed else []
        self.say(", ".join(parts))

    def say(self, text: str) -> None:
        """Prints one line on stderr."""
        print(escaped(text, lines=True), file=sys.stderr, flush=True)

    def ask(self, question: str) -> bool:
        """There is no terminal: a job that nobody watches is not kept waiting."""
        return True


class LiveView:
    """A bar per stage; finished ones stay on the screen with a tick."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._title = ""
        self._task: TaskID | None = bars.add_task("starting", total=None, pace="")
        self._asides = Asides()

    def show(self, step: ProgressLine) -> None:
        """Moves the bar, or finishes it and starts the next."""
        if step.title != self._title:
            self._next(step.title)
        self._asides.say(step, self.say)
        pace = step.pace + (f"  {step.failed} failed" if step.failed else "")
        if self._task is not None:
            self._bars.update(self._task, completed=step.done, total=step.total or None, pace=pace)

    def say(self, text: str) -> None:
        """Prints one line above the bars."""
        self._bars.console.print(escaped(text, lines=True), highlight=False, markup=False)

    def ask(self, question: str) -> bool:
        """Asks below the bars, which stand still meanwhile; no is the answer by default."""
        if not sys.stdin.isatty():
            return True
        self._bars.stop()
        try:
            self._bars.console.print(f"{question} [y/N]", end=" ", markup=False, highlight=False)
            return sys.stdin.readline().strip().lower() in ("y", "yes")
        finally:
            self._bars.start()

    def _next(self, title: str) -> None:
        if self._task is not None:
            if self._title:
                self.say(f"✓ {self._title}")
            self._bars.remove_task(self._task)
        self._title = title
        self._task = self._bars.add_task(escape(title), total=None, pace="")


def _bars() -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TextColumn("[dim]{task.fields[pace]}"),
        console=console(stderr=True),
        transient=True,
    )
