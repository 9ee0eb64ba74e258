"""Where the time went: a stacked bar per row, by service."""

from dataclasses import dataclass

from gateway.export.results import StudyResults
from gateway.study.report.words import seconds

# Order of the services in the bars and in the legend.
SERVICES = ("captioner", "prompter", "generator", "retriever", "trainer", "gateway")


@dataclass(frozen=True)
class Slice:
    """One service's part of a bar: `share` of the longest bar in percent."""

    service: str
    share: float
    text: str


@dataclass(frozen=True)
class TimeRow:
    """One bar. `stages` lists what the services did, longest first."""

    label: str
    total: str
    slices: tuple[Slice, ...]
    stages: tuple[tuple[str, str], ...]


def time_rows(results: StudyResults) -> tuple[TimeRow, ...]:
    """A bar for every row that has timings, in the order of the rows."""
    totals: dict[str, float] = {}
    for timing in results.timings:
        totals[timing.label] = totals.get(timing.label, 0.0) + timing.seconds
    longest = max(totals.values(), default=0.0)
    return tuple(_row(results, row.label, longest) for row in results.rows if totals.get(row.label))


def _row(results: StudyResults, label: str, longest: float) -> TimeRow:
    own = [timing for timing in results.timings if timing.label == label]
    slices = []
    for service in SERVICES:
        spent = sum(timing.seconds for timing in own if timing.service == service)
        if spent:
            slices.append(Slice(service, round(100 * spent / longest, 2), seconds(spent)))
    stages = sorted(own, key=lambda timing: -timing.seconds)
    return TimeRow(
        label,
        seconds(sum(timing.seconds for timing in own)),
        tuple(slices),
        tuple((timing.stage, seconds(timing.seconds)) for timing in stages),
    )
