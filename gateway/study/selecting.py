"""Selecting parameters by the accuracy on validation images: of several candidates one row comes.

BURG and AUGCOND choose checkpoints and settings by a classifier trained on real and generated
images (BURG, appendix). Each seed selects by itself, so that what chance has in the selection is in
the error bars; test images are never looked at.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from gateway.export.results import StudyFailure
from gateway.export.selections import Candidate, Selection
from gateway.study.fidelity import FidelityRecord
from gateway.study.records import Arm, AugmentationRecord, RunRecord

Key = tuple[object, ...]
Record = TypeVar("Record", RunRecord, AugmentationRecord, FidelityRecord)


@dataclass(frozen=True)
class Records:
    """What came of the rows of a study; after `select` that of the rows that are shown."""

    rows: tuple[Arm, ...]
    runs: tuple[RunRecord, ...]
    augmentations: tuple[AugmentationRecord, ...] = ()
    failures: tuple[StudyFailure, ...] = ()
    fidelity: tuple[FidelityRecord, ...] = ()
    selections: tuple[Selection, ...] = ()
    notes: tuple[str, ...] = ()


def select(records: Records, seeds: Sequence[int]) -> Records:
    """Returns the records with one row in place of the candidates of each selection.

    What the candidates cost is the row's. At a seed at which all of them failed the row fails;
    where some did, a note says so.
    """
    for candidates in _groups(records.rows):
        records = _with_one(records, candidates, seeds)
    return records


def _groups(rows: Sequence[Arm]) -> list[list[Arm]]:
    """The candidates of each row: those that differ in parameters alone."""
    found: dict[Key, list[Arm]] = {}
    for row in rows:
        if row.selection:
            found.setdefault(replace(row, parameters={}).key, []).append(row)
    return list(found.values())


def _with_one(records: Records, candidates: Sequence[Arm], seeds: Sequence[int]) -> Records:
    names = _differing(candidates)
    common = {k: v for k, v in candidates[0].parameters.items() if k not in names}
    row = replace(candidates[0], parameters=common, selected=names)
    keys = [one.key for one in candidates]
    runs = {(run.arm.key, run.seed): run for run in records.runs if run.arm.key in keys}
    best = {seed: run for seed in seeds if (run := _best(keys, seed, runs))}
    chosen = {(run.arm.key, seed) for seed, run in best.items()}
    labels = {one.label for one in candidates}
    lost = [one for one in records.failures if one.label in labels]
    at = records.rows.index(candidates[0])
    whole_runs = [_whole_run(run, row, runs, keys) for run in best.values()]
    whole_made = _whole_augmentations(records.augmentations, row, chosen, keys)
    measured = [one for one in records.fidelity if (one.arm.key, one.seed) in chosen]
    failed = _failed(row, lost, [seed for seed in seeds if seed not in best])
    others = [one for one in records.failures if one.label not in labels]
    return Records(
        rows=(*records.rows[:at], row, *(r for r in records.rows[at:] if r.key not in keys)),
        runs=(*_of_others(records.runs, keys), *whole_runs),
        augmentations=(*_of_others(records.augmentations, keys), *whole_made),
        failures=(*others, *failed),
        fidelity=(
            *_of_others(records.fidelity, keys),
            *(replace(one, arm=row) for one in measured),
        ),
        selections=(*records.selections, _selection(row, candidates, seeds, runs, best)),
        notes=(*records.notes, *(_note(one) for one in lost if one.seed in best)),
    )


def _of_others(records: Iterable[Record], keys: Sequence[Key]) -> list[Record]:
    return [one for one in records if one.arm.key not in keys]


def _note(lost: StudyFailure) -> str:
    return f"{lost.label}, seed {lost.seed} failed and could not be selected: {lost.message}"


def _differing(candidates: Sequence[Arm]) -> tuple[str, ...]:
    names = sorted({name for one in candidates for name in one.parameters})
    return tuple(
        name for name in names if len({one.parameters.get(name) for one in candidates}) > 1
    )


def _best(
    keys: Sequence[Key], seed: int, runs: Mapping[tuple[Key, int], RunRecord]
) -> RunRecord | None:
    """The run of a seed that is best on the validation images, the first of equals."""
    found = [runs[key, seed] for key in keys if (key, seed) in runs]
    return max(found, key=lambda run: run.validation_accuracy or 0.0, default=None)


def _whole_run(
    run: RunRecord, row: Arm, runs: Mapping[tuple[Key, int], RunRecord], keys: Sequence[Key]
) -> RunRecord:
    """The run as the row's, with the seconds of all candidates."""
    spent = sum(runs[key, run.seed].seconds for key in keys if (key, run.seed) in runs)
    return replace(run, arm=row, seconds=spent)


def _whole_augmentations(
    augmentations: Sequence[AugmentationRecord],
    row: Arm,
    chosen: set[tuple[Key, int]],
    keys: Sequence[Key],
) -> list[AugmentationRecord]:
    """The images that were selected as the row's, with the seconds of all candidates' images."""
    found = []
    for one in augmentations:
        if (one.arm.key, one.seed) in chosen:
            spent: Counter[str] = Counter()
            for other in augmentations:
                if other.seed == one.seed and other.arm.key in keys:
                    spent.update(other.seconds)
            found.append(replace(one, arm=row, seconds=dict(spent)))
    return found


def _failed(row: Arm, lost: Sequence[StudyFailure], seeds: Sequence[int]) -> list[StudyFailure]:
    """The row's own failures: at each seed the first of its candidates'."""
    firsts = (next((one for one in lost if one.seed == seed), None) for seed in seeds)
    return [replace(one, label=row.label) for one in firsts if one]


def _selection(
    row: Arm,
    candidates: Sequence[Arm],
    seeds: Sequence[int],
    runs: Mapping[tuple[Key, int], RunRecord],
    best: Mapping[int, RunRecord],
) -> Selection:
    def accuracy(arm: Arm, seed: int) -> float | None:
        run = runs.get((arm.key, seed))
        return run.validation_accuracy if run else None

    return Selection(
        row.label,
        tuple(
            Candidate(
                {name: one.parameters.get(name, "") for name in row.selected},
                tuple(accuracy(one, seed) for seed in seeds),
                tuple(seed for seed, run in best.items() if run.arm.key == one.key),
            )
            for one in candidates
        ),
    )
