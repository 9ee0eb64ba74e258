"""How much a service has to do: what waits, what runs, how full batches are, how long it takes.

It imports nothing: the engine inside Triton has no Prometheus client.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

# Of a new measurement in the mean: some ten of them decide, so that it follows a change of load.
_WEIGHT = 0.1


@dataclass(frozen=True)
class Workload:
    """What a service has to do at one moment. Items are what it makes: images, captions, vectors.

    `waiting_count` items were accepted and not begun, `running_count` begun and not finished. At
    most `max_batch` are worked on together, and the last time it was `last_batch`.
    `seconds_waiting` is how long what waits will take at the pace of what was done lately; 0 until
    something was.
    """

    waiting_count: int
    running_count: int
    last_batch: int
    max_batch: int
    seconds_waiting: float

    @property
    def load(self) -> float:
        """What is at hand, in full batches: above 1 some waits, whatever the batch."""
        return (self.waiting_count + self.running_count) / self.max_batch


# The end of a metric's name, what it means, and its value.
_METRICS: tuple[tuple[str, str, Callable[[Workload], float]], ...] = (
    ("items_waiting", "Items that were accepted and not begun.", lambda w: w.waiting_count),
    ("items_running", "Items that were begun and not finished.", lambda w: w.running_count),
    ("batch_fill", "How full the last batch was, 0 to 1.", lambda w: w.last_batch / w.max_batch),
    ("seconds_waiting", "Seconds that the waiting items will take.", lambda w: w.seconds_waiting),
    ("load", "Items at hand in full batches: above 1 some wait.", lambda w: w.load),
)


def metrics_of(service: str) -> Iterator[tuple[str, str, Callable[[Workload], float]]]:
    """Yields name, meaning and value of each metric of a service's workload."""
    for name, meaning, value in _METRICS:
        yield f"variegate_{service}_{name}", meaning, value


class Pace:
    """The seconds that one unit of work takes, by what was done lately. For one writing thread."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def note(self, seconds: float, count: int) -> None:
        """Takes note of `count` units that were done together in so many seconds."""
        each = seconds / count
        self.seconds += (each - self.seconds) * (_WEIGHT if self.seconds else 1.0)
