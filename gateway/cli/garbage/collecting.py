"""Counts the objects of a store by kind, and discards those that nothing needs."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from gateway.cli.garbage.ledger import UNKNOWN, Ledger
from gateway.cli.garbage.tracing import subject_of, trace
from servicekit.storage import KINDS, Entry, Keep, ObjectStore, kind_of

_WORKERS, _WINDOW = 16, 1024
_SHOWN = 10

# Called with how many objects were looked at, or discarded, so far.
Report = Callable[[str, int], None]


@dataclass
class Amount:
    """How many objects, how many bytes, and the times of the oldest and the newest."""

    count: int = 0
    size: int = 0
    oldest: float = 0.0
    newest: float = 0.0

    def add(self, entry: Entry) -> None:
        """Counts an object."""
        self.oldest = min(self.oldest, entry.modified) if self.count else entry.modified
        self.newest = max(self.newest, entry.modified)
        self.count, self.size = self.count + 1, self.size + entry.size


@dataclass
class KindReport:
    """What there is of a kind, what of it is free, and what will be if nothing names it until it
    is old enough."""

    kept: Amount = field(default_factory=Amount)
    free: Amount = field(default_factory=Amount)
    young: Amount = field(default_factory=Amount)


@dataclass
class Collection:
    """What was found, by the name of the kind; what is of no kind; and what was discarded."""

    kinds: dict[str, KindReport] = field(default_factory=dict)
    unknown: Amount = field(default_factory=Amount)
    some_unknown: list[str] = field(default_factory=list)
    unfinished: set[str] = field(default_factory=set)
    halves: tuple[int, int] = (0, 0)
    discarded: int = 0
    freed: int = 0
    renewed: int = 0  # Objects that somebody found again before they were discarded.
    missing: int = 0  # What is named and is not there, as after a restore from half a backup.
    some_missing: list[str] = field(default_factory=list)

    @property
    def free(self) -> Amount:
        """All that is free, half-written objects left out."""
        found = Amount()
        for report in self.kinds.values():
            found.count, found.size = (
                found.count + report.free.count,
                found.size + report.free.size,
            )
        return found


def collect(
    store: ObjectStore, before: float, *, caches: bool, delete: bool, report: Report
) -> Collection:
    """Finds what nothing needs and is older than `before`, in seconds since 1970, and with `delete`
    discards it. With `caches` what only saves time is not needed either.

    Killed at any moment it leaves a store in which nothing that is needed is missing; the next one
    goes on. Raises CliError for a damaged document, and ServiceError.
    """
    found, ledger = Collection(), Ledger()
    try:
        trace(store, ledger)
        _count_missing(store, ledger, found)
        free = _free(ledger, before, caches, found, report)
        if delete:
            _discard(store, before, free, found, report)
        for _ in free:  # Where nothing is deleted, it is counted.
            pass
        found.halves = store.discard_halves(before, dry_run=not delete)
    finally:
        ledger.close()
    return found


def _count_missing(store: ObjectStore, ledger: Ledger, found: Collection) -> None:
    for key in ledger.missing():
        kind = kind_of(key)
        # Others come and go, and texts may name what was never ours. What was stored since the
        # listing is no loss.
        if kind is None or kind.keep is not Keep.NAMED or store.exists(key):
            continue
        found.missing += 1
        if len(found.some_missing) < _SHOWN:
            found.some_missing.append(key)


def _free(
    ledger: Ledger, before: float, caches: bool, found: Collection, report: Report
) -> Iterator[Entry]:
    """Yields what is free, and counts everything."""
    for number, (entry, kind_number) in enumerate(ledger.objects()):
        if number % _WINDOW == 0:
            report("looked at", number)
        if kind_number == UNKNOWN:
            found.unknown.add(entry)
            if len(found.some_unknown) < _SHOWN:
                found.some_unknown.append(entry.key)
            continue
        kind = KINDS[kind_number]
        amounts = found.kinds.setdefault(kind.name, KindReport())
        if ledger.is_needed(entry.key) or (kind.keep is Keep.SAVES_TIME and not caches):
            amounts.kept.add(entry)
            if kind.keep is Keep.WORK:
                found.unfinished.add(subject_of(entry.key))
        elif entry.modified >= before:
            amounts.young.add(entry)
        else:
            amounts.free.add(entry)
            yield entry


def _discard(
    store: ObjectStore, before: float, free: Iterator[Entry], found: Collection, report: Report
) -> None:
    def discard(entry: Entry) -> tuple[Entry, bool]:
        return entry, store.discard(entry.key, before)

    with ThreadPoolExecutor(_WORKERS) as threads:
        while window := list(islice(free, _WINDOW)):
            for entry, is_gone in threads.map(discard, window):
                if is_gone:
                    found.discarded, found.freed = found.discarded + 1, found.freed + entry.size
                else:
                    found.renewed += 1
            report("discarded", found.discarded)


def to_plain(found: Collection) -> dict[str, Any]:
    """Returns the figures as a document; times are in RFC 3339, null where there is nothing."""
    return {
        "kinds": [
            {
                "kind": kind.name,
                "owner": kind.owner,
                "rule": kind.keep.value,
                **{name: _plain(getattr(found.kinds[kind.name], name)) for name in _STATES},
            }
            for kind in KINDS
            if kind.name in found.kinds
        ],
        "unknown": {**_plain(found.unknown), "some": found.some_unknown},
        "half_written": {"count": found.halves[0], "bytes": found.halves[1]},
        "missing": {"count": found.missing, "some": found.some_missing},
        "unfinished": sorted(found.unfinished),
        "free_count": found.free.count,
        "free_bytes": found.free.size,
        "discarded_count": found.discarded,
        "discarded_bytes": found.freed,
        "renewed_count": found.renewed,
    }


_STATES = ("kept", "free", "young")


def _plain(amount: Amount) -> dict[str, Any]:
    return {
        "count": amount.count,
        "bytes": amount.size,
        "oldest": _moment(amount.oldest),
        "newest": _moment(amount.newest),
    }


def _moment(seconds: float) -> str | None:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(round(seconds), UTC).isoformat() if seconds else None
