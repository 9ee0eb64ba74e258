"""The statistics of a study, and results.json."""

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.export.results import DatasetSummary, StudyResults
from gateway.export.statistics import beats, loses, mean, paired_gain, standard_error
from gateway.study import Arm, RunRecord, StudySpec, build_results

shares = st.floats(0, 1, allow_nan=False)
BASE, MVC = Arm("baseline", "real"), Arm("mvc", "combined")


def spec(seeds=(0, 1, 2), arms=(MVC,)):
    dataset = DatasetSummary("datasets/d", "ab", ("cat", "dog"), (5, 5), (9, 9), ("a leak",))
    return StudySpec("s", dataset, 10, tuple(seeds), tuple(arms))


def runs(arm, accuracies, cats=None):
    cats = cats or accuracies
    return [
        RunRecord(arm, seed, accuracy, {"cat": cat, "dog": 0.5}, 10, 20, 18, 1.5)
        for seed, (accuracy, cat) in enumerate(zip(accuracies, cats, strict=True))
    ]


def test_the_standard_error_uses_the_sample_variance():
    assert standard_error([0.1, 0.2, 0.3]) == pytest.approx(0.1 / math.sqrt(3))
    assert standard_error([0.4]) is None


@given(st.lists(st.tuples(shares, shares), min_size=2, max_size=9))
def test_a_paired_gain_is_the_difference_of_the_means(pairs):
    values, base = zip(*pairs, strict=True)
    gain, error = paired_gain(values, base)
    assert gain == pytest.approx(mean(values) - mean(base), abs=1e-12)
    assert error >= 0


@given(st.lists(shares, min_size=2, max_size=9), st.floats(-0.5, 0.5))
def test_what_all_seeds_share_adds_nothing_to_the_error_of_a_gain(base, shift):
    _, error = paired_gain([value + shift for value in base], base)
    assert error == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("gain", "error", "better", "worse"),
    [
        (0.03, 0.01, True, False),
        (0.02, 0.01, False, False),
        (0.0, 0.0, False, False),
        (-0.02, 0.01, False, False),
        (-0.03, 0.01, False, True),
        (-0.1, 0.0, False, True),
        (0.5, None, False, False),
        (-0.5, None, False, False),
    ],
)
def test_only_more_than_two_standard_errors_are_a_gain_or_a_loss(gain, error, better, worse):
    assert (beats(gain, error), loses(gain, error)) == (better, worse)


def test_rows_pair_seeds_whatever_the_order_of_the_records():
    records = runs(MVC, [0.5, 0.6, 0.7], [0.9, 0.1, 0.2])
    records += runs(BASE, [0.4, 0.5, 0.6], [0.5, 0.5, 0.5])
    results = build_results(spec(), records[::-1], machine={})
    assert [row.label for row in results.rows] == ["baseline", "mvc"]
    row = results.best
    assert row.accuracies == (0.5, 0.6, 0.7)
    assert row.gain == pytest.approx(0.1) and row.gain_standard_error == pytest.approx(0)
    assert row.beats_baseline
    [cat, dog] = row.classes
    assert cat.gain == pytest.approx(-0.1) and cat.gain_standard_error > 0.2
    assert dog.gain == 0


def test_one_seed_never_beats_the_baseline():
    results = build_results(spec([0]), runs(BASE, [0.1]) + runs(MVC, [0.9]), machine={})
    assert not results.best.beats_baseline and not results.best.loses_to_baseline
    document = json.loads(results.to_json())
    for row in document["rows"]:
        assert row["standard_error"] is row["gain_standard_error"] is None
        assert all(one["standard_error"] is None for one in row["classes"])
    assert StudyResults.from_json(results.to_json()) == results


def test_a_class_without_test_images_has_no_figures_and_counts_in_no_mean():
    records = [
        RunRecord(arm, seed, value, {"cat": value, "dog": None})
        for arm, value in ((BASE, 0.4), (MVC, 0.5))
        for seed in range(3)
    ]
    results = build_results(spec(), records, machine={})
    cat, dog = results.best.classes
    assert cat.gain == pytest.approx(0.1)
    assert (dog.accuracy, dog.gain, dog.standard_error) == (None, None, None)
    assert results.best.balanced.mean_accuracy == pytest.approx(0.5)
    assert StudyResults.from_json(results.to_json()) == results


def test_balanced_accuracy_has_a_paired_gain_of_its_own():
    base = [RunRecord(BASE, seed, 0.9, {"cat": 1.0, "dog": 0.0}) for seed in range(3)]
    made = [RunRecord(MVC, seed, 0.8, {"cat": 0.8, "dog": 0.4}) for seed in range(3)]
    row = build_results(spec(), [*base, *made], machine={}).best
    assert row.gain == pytest.approx(-0.1) and row.loses_to_baseline
    assert row.balanced.gain == pytest.approx(0.1) and row.balanced.beats_baseline
    assert row.balanced.accuracies == pytest.approx((0.6, 0.6, 0.6))


def test_the_recipe_is_the_common_one_whoever_ended_last_and_rows_say_what_differs():
    recipe = {"classifier": "cnn4", "step_count": 300}
    records = [replace(run, recipe=recipe) for run in runs(BASE, [0.4] * 3)]
    records += [replace(run, recipe=recipe | {"step_count": 9}) for run in runs(MVC, [0.5] * 3)]
    first, second = (build_results(spec(), order, machine={}) for order in (records, records[::-1]))
    assert first == second
    assert first.training == {"classifier": "cnn4"}
    assert [row.training for row in first.rows] == [{"step_count": 300}, {"step_count": 9}]


def test_arms_of_one_method_stay_apart():
    two = Arm("mvc", "two_phase", {"coarse_steps": "0"})
    records = runs(BASE, [0.4] * 3) + runs(MVC, [0.5] * 3) + runs(two, [0.6] * 3)
    results = build_results(spec(arms=(MVC, two)), records, machine={})
    assert [row.label for row in results.methods] == ["mvc", "mvc (two_phase, coarse_steps=0)"]


def test_a_study_without_baseline_or_with_a_missing_seed_is_refused():
    with pytest.raises(ValueError, match="baseline"):
        build_results(spec(), runs(MVC, [0.5] * 3), machine={})
    with pytest.raises(ValueError, match=r"'mvc' has no run for the seeds \[2\]"):
        build_results(spec(), runs(BASE, [0.4] * 3) + runs(MVC, [0.5] * 2), machine={})


def test_results_json_comes_back_equal_and_is_the_same_bytes(sample):
    results = build_results(sample.spec, sample.records, sample.augmentations, machine={})
    again = StudyResults.from_json(results.to_json())
    assert again == results
    assert again.to_json() == results.to_json()
    document = json.loads(results.to_json())
    assert document["schema"] == "variegate.study/1"
    assert document["best"] == results.best.label


def test_another_json_file_is_refused():
    with pytest.raises(ValueError, match="not a results file"):
        StudyResults.from_json('{"schema": "other"}')


def test_timings_and_rejections_are_summed_by_service_and_reason(sample):
    results = build_results(sample.spec, sample.records, sample.augmentations, machine={})
    mvc = {t.stage: (t.service, t.seconds) for t in results.timings if t.label == "mvc"}
    assert mvc["generate"] == ("generator", 31.5)
    assert mvc["train"][0] == "trainer"
    assert sum(results.rejected.values()) == sum(a.rejected_count for a in sample.augmentations)


def test_warnings_of_the_dataset_become_notes():
    records = runs(BASE, [0.4] * 3) + runs(MVC, [0.5] * 3)
    results = build_results(spec(), records, machine={}, notes=["safety: a sample"])
    assert results.notes == ("a leak", "safety: a sample")
    assert replace(results, notes=()) != results
