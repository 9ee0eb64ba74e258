"""What was left out of a pool, counted by reason."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from datafiles.rejected import RejectedFile


@dataclass(frozen=True)
class LeftOutFiles:
    """Files, rows or labels that were left out for one reason; `example` tells of the first."""

    reason: str
    count: int
    example: str


Tally = Mapping[str, LeftOutFiles]


def counted(found: Iterable[RejectedFile]) -> Tally:
    """Returns the counts by reason."""
    return merged({one.reason: LeftOutFiles(one.reason, 1, one.message)} for one in found)


def merged(tallies: Iterable[Tally]) -> Tally:
    """Returns the sums, with the first example of each reason."""
    sums: dict[str, LeftOutFiles] = {}
    for tally in tallies:
        for reason, one in tally.items():
            before = sums.get(reason, LeftOutFiles(reason, 0, one.example))
            sums[reason] = LeftOutFiles(reason, before.count + one.count, before.example)
    return sums
