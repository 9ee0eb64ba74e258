"""Which datasets, augmentations and studies of a state are needed, and which are free."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.cli.records import OutputRecord, records
from gateway.cli.root import stored_resources

# A part of a study begins with so much of its id.
_STUDY = 24


@dataclass(frozen=True)
class Needs:
    """Names of resources. `unfinished` ones are needed as well; `gone` are the notes of outputs
    that no longer exist."""

    needed: frozenset[str]
    free: frozenset[str]
    unfinished: frozenset[str]
    gone: tuple[OutputRecord, ...]


def needs_of(state: Path, *, everything: bool) -> Needs:
    """Decides. With `everything` what was never written into a folder is free as well."""
    stored = {one.name: one for one in stored_resources(state)}
    names = list(stored)
    unfinished = {one.name for one in stored.values() if not one.is_finished}
    known = list(records(state))
    gone = [one for one in known if not one.is_wanted]
    wanted = {one.resource for one in known if one.is_wanted and (one.out or not everything)}
    # A probe of the speed is no output.
    lost = {one.resource for one in gone} - wanted | {n for n in names if n.endswith("-probe")}
    wanted |= unfinished
    runs = [name for name in names if "/augmentations/" in name or name.startswith("studies/")]
    free = {name for name in runs if name not in wanted and (everything or name in lost)}
    free = _with_parts(runs, free, wanted)
    needed = set(runs) - free
    used = {dataset for name in needed for dataset in stored[name].datasets}
    left = {dataset for name in free for dataset in stored[name].datasets}
    for name in names:
        if name not in runs:
            is_free = name not in used | wanted and (everything or name in left)
            (free if is_free else needed).add(name)
    return Needs(frozenset(needed), frozenset(free), frozenset(unfinished), tuple(gone))


def _with_parts(runs: Sequence[str], free: set[str], wanted: set[str]) -> set[str]:
    """The augmentations of a study are free as it is; of two that may have made one, both."""
    prefixes: dict[str, bool] = {}
    for study in (name for name in runs if name.startswith("studies/")):
        prefix = study.removeprefix("studies/")[:_STUDY] + "-"
        prefixes[prefix] = prefixes.get(prefix, True) and study in free
    decided = set(free)
    for name in runs:
        last = name.rpartition("/")[2]
        of = [is_free for prefix, is_free in prefixes.items() if last.startswith(prefix)]
        if "/augmentations/" in name and of and name not in wanted:
            (decided.add if all(of) else decided.discard)(name)
    return decided
