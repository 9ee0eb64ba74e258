"""Rows whose parameters validation images select."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.export.results import StudyFailure, StudyResults
from gateway.study import Arm, AugmentationRecord, RunRecord, StudySpec, build_results
from gateway.study.selecting import Records, select
from tests.gateway.study.test_results import BASE, MVC, runs, spec

SEEDS = (0, 1, 2)
STRENGTHS = ("0.3", "0.5", "0.7")
CANDIDATES = [Arm("boomerang", "combined", {"strength": one}, selection="b") for one in STRENGTHS]


def records(validation, failures=()):
    """Runs of the candidates with these validation accuracies, a list of seeds for each; test
    accuracies are the number of the candidate in tenths."""
    found = [
        RunRecord(
            arm, seed, 0.1 * number, {"cat": 0.5, "dog": 0.5}, seconds=2.0, validation_accuracy=one
        )
        for number, (arm, values) in enumerate(zip(CANDIDATES, validation, strict=True))
        for seed, one in enumerate(values)
        if one is not None
    ]
    made = [
        AugmentationRecord(
            arm, seed, f"{arm.label}-{seed}", "store:m", accepted_count=4, seconds={"generate": 3.0}
        )
        for arm in CANDIDATES
        for seed in SEEDS
    ]
    rows = (BASE, MVC, *CANDIDATES)
    others = (*runs(BASE, [0.3] * 3), *runs(MVC, [0.4] * 3))
    return Records(rows, (*others, *found), tuple(made), tuple(failures))


accuracies = st.lists(st.floats(0, 1, allow_nan=False), min_size=3, max_size=3)


@given(st.lists(accuracies, min_size=3, max_size=3))
def test_at_each_seed_the_row_is_the_candidate_with_the_best_validation_accuracy(validation):
    shown = select(records(validation), SEEDS)
    assert [row.label for row in shown.rows] == ["baseline", "mvc", "boomerang (strength selected)"]
    own = {run.seed: run for run in shown.runs if run.arm.method == "boomerang"}
    for seed in SEEDS:
        of_seed = [values[seed] for values in validation]
        assert own[seed].validation_accuracy == max(of_seed)
        assert own[seed].accuracy == pytest.approx(0.1 * of_seed.index(max(of_seed)))
    [selection] = shown.selections
    assert sorted(s for one in selection.candidates for s in one.selected_seeds) == [*SEEDS]
    assert [one.accuracies for one in selection.candidates] == [*map(tuple, validation)]


@given(st.lists(accuracies, min_size=3, max_size=3), st.lists(accuracies, min_size=3, max_size=3))
def test_test_accuracies_decide_nothing(validation, tested):
    plain = records(validation)
    other = replace(
        plain,
        runs=tuple(
            replace(run, accuracy=tested[CANDIDATES.index(run.arm)][run.seed])
            if run.arm in CANDIDATES
            else run
            for run in plain.runs
        ),
    )
    assert select(plain, SEEDS).selections == select(other, SEEDS).selections


def test_what_all_candidates_cost_is_the_cost_of_the_row():
    shown = select(records([[0.1, 0.2, 0.3], [0.2, 0.1, 0.1], [0.0, 0.0, 0.0]]), SEEDS)
    own = [run for run in shown.runs if run.arm.method == "boomerang"]
    assert [run.seconds for run in own] == [6.0] * 3
    assert [one.seconds for one in shown.augmentations] == [{"generate": 9.0}] * 3
    assert [one.name for one in sorted(shown.augmentations, key=lambda one: one.seed)] == [
        f"{CANDIDATES[number].label}-{seed}" for seed, number in enumerate((1, 0, 0))
    ]


def test_a_candidate_that_fails_is_told_and_the_row_fails_where_all_do():
    lost = [StudyFailure(CANDIDATES[0].label, 0, "images", "diverged")]
    lost += [StudyFailure(one.label, 2, "training", "no room") for one in CANDIDATES]
    shown = select(records([[None, 0.2, None], [0.2, 0.1, None], [0.1, 0, None]], lost), SEEDS)
    assert shown.failures == (
        StudyFailure("boomerang (strength selected)", 2, "training", "no room"),
    )
    [note] = shown.notes
    assert note == (
        "boomerang (strength=0.3, candidate), seed 0 failed and could not be selected: diverged"
    )
    [selection] = shown.selections
    assert selection.candidates[0].accuracies == (None, 0.2, None)
    assert selection.sentence == (
        "boomerang (strength selected): of 3 candidates validation images selected strength=0.3 "
        "(seed 1); strength=0.5 (seed 0)"
    )


def test_results_hold_the_selections_and_can_be_read_again():
    shown = select(records([[0.1, 0.2, 0.3], [0.2, 0.1, 0.1], [0.0, 0.0, 0.0]]), SEEDS)
    arms = tuple(row for row in shown.rows if row.method != "baseline")
    asked: StudySpec = spec(arms=arms)
    results = build_results(
        asked, shown.runs, shown.augmentations, machine={}, selections=shown.selections
    )
    assert [row.label for row in results.methods] == ["mvc", "boomerang (strength selected)"]
    assert results.rows[-1].accuracies == pytest.approx((0.1, 0.0, 0.0))
    assert StudyResults.from_json(results.to_json()) == results


def test_rows_without_selection_are_as_they_were():
    plain = Records((BASE, MVC), tuple(runs(BASE, [0.3] * 3)))
    assert select(plain, SEEDS) == plain
