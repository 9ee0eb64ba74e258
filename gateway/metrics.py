"""What the gateway counts of its work, beside what every service counts of its calls."""

from collections.abc import Callable

from prometheus_client import Counter, Gauge
from prometheus_client.registry import Collector

from gateway.durable.watch import Watch


class GatewayMetrics(Watch):
    """Counters since the start of the process."""

    def __init__(self) -> None:
        self._images = Counter(
            "variegate_gateway_images",
            "Images that were decided on: ACCEPTED, or why not.",
            ["outcome"],
            registry=None,
        )
        self._work = Counter(
            "variegate_gateway_work_ended",
            "Pieces of work that ended here: DONE, CANCELLED, or the reason of their failure.",
            ["outcome"],
            registry=None,
        )
        self._leases = Counter(
            "variegate_gateway_leases_lost",
            "How often this gateway lost its lease and stopped its work.",
            registry=None,
        )

    def decided(self, outcome: str) -> None:
        """An image was accepted, or not."""
        self._images.labels(outcome).inc()

    def ended(self, outcome: str) -> None:
        self._work.labels(outcome).inc()

    def lost_lease(self) -> None:
        self._leases.inc()

    def collectors(self, quiet_seconds: Callable[[], float]) -> tuple[Collector, ...]:
        """Returns what a registry reads. `quiet_seconds` is asked for the longest time that a piece
        of work in this process has made no progress; 0 if there is none."""
        quiet = Gauge(
            "variegate_gateway_seconds_without_progress",
            "Longest time that a piece of work here has made no progress; 0 without work.",
            registry=None,
        )
        quiet.set_function(quiet_seconds)
        return (self._images, self._work, self._leases, quiet)
