"""What a study's figures say in words: reckoned from its rows, whatever these are."""

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.export.results import StudyResults
from gateway.export.statistics import compare, holm
from gateway.study.answers import answers

STUDY = Path(__file__).parents[3] / "studies" / "cifar10" / "k010" / "results.json"


@pytest.fixture(scope="module")
def results():
    return StudyResults.from_json(STUDY.read_text())


def with_accuracies(results, values):
    """The study with other accuracies of some rows, and all that follows from them."""
    base = results.baseline.accuracies
    rows = []
    for row in results.rows:
        found = compare(values.get(row.label, row.accuracies), base)
        rows.append(replace(row, **vars(found), p_holm=None, seconds_per_point=None))
    p_values = holm([None if row.is_reference else row.p_value for row in rows])
    rows = [replace(row, p_holm=p) for row, p in zip(rows, p_values, strict=True)]
    return replace(results, rows=tuple(rows))


def said(results, question):
    return next((text for text in answers(results) if text.startswith(question)), "")


def test_the_rows_that_beat_the_baseline_are_those_after_holms_correction(results):
    assert "retrieval (+10.5, p 0.006), cond_dropout" in said(results, "Which rows beat")
    assert "clip_templates" not in said(results, "Which rows beat"), "+6.5, and p 0.051"
    assert "clip_templates (+6.5, p 0.051)" in said(results, "Of which is neither")
    assert said(results, "Which are worse") == "Which are worse than it? None."


def test_other_figures_are_other_sentences(results):
    base = results.baseline.accuracies
    shift = {"mvc": -0.2, "retrieval": 0.0, "simple": 0.1}
    noise = (0.001, -0.001, 0.0005)
    values = {
        name: tuple(one + by + off for one, off in zip(base, noise, strict=True))
        for name, by in shift.items()
    }
    other = with_accuracies(results, values)
    assert "mvc (−20.0" in said(other, "Which are worse")
    assert "retrieval (" in said(other, "Of which is neither")
    assert "retrieval against simple: −10.0" in said(other, "Does retrieval beat")
    assert "mvc against simple: −30.0" in said(other, "Does mixing captions beat prompts")
    assert "not shown" not in said(other, "Does mixing captions beat prompts").split(";")[0]


def test_pairs_are_compared_at_the_seeds_that_both_have(results):
    row = next(row for row in results.rows if row.method == "retrieval")
    short = replace(row, seeds=row.seeds[:2], accuracies=row.accuracies[:2])
    rows = tuple(short if one is row else one for one in results.rows)
    best = max(
        (r for r in results.methods if r.method != "retrieval"), key=lambda r: r.mean_accuracy
    )
    gain = 100 * sum(a - b for a, b in zip(row.accuracies, best.accuracies[:2], strict=False)) / 2
    assert f"{best.label}: +{gain:.1f}" in said(replace(results, rows=rows), "Does retrieval beat")


def test_strategies_and_amounts_are_compared_with_the_same_images(results):
    mvc = next(row for row in results.rows if row.method == "mvc")
    phased = replace(mvc, strategy="two_phase", label="mvc (two_phase)")
    less = replace(mvc, images_per_class=5, label="mvc (5 a class)", added_image_count=50)
    grid = replace(results, rows=(*results.rows, phased, less))
    assert "mvc (two_phase) against mvc: 0.0" in said(grid, "What do other strategies")
    assert "mvc against mvc (5 a class): 0.0" in said(grid, "How far do more images help")
    assert not said(results, "What do other strategies"), "what was not run is not asked"


def test_what_longer_training_alone_brings_is_told_from_what_the_images_add(results):
    longer = tuple(accuracy + 0.05 for accuracy in results.baseline.accuracies)
    rows = [
        replace(row, training={**row.training, "step_count": 600})
        if row.method in ("mvc", "retrieval")
        else row
        for row in results.rows
    ]
    mvc = next(row for row in rows if row.method == "mvc")
    matched = replace(
        results.baseline, method="matched", label="matched", accuracies=longer,
        training=mvc.training, images_per_class=mvc.images_per_class,
    )  # fmt: skip
    text = said(replace(results, rows=(*rows, matched)), "What do the images add")
    gain = 100 * (sum(mvc.accuracies) - sum(longer)) / 3
    assert f"mvc against matched: +{gain:.1f} ±" in text
    assert "retrieval against matched" in text and "simple against" not in text
    assert not said(results, "What do the images add"), "no row trains longer"


def test_one_seed_says_nothing_of_chance(results):
    alone = [
        replace(row, seeds=row.seeds[:1], accuracies=row.accuracies[:1], p_value=None, p_holm=None)
        for row in results.rows
    ]
    found = answers(replace(results, rows=tuple(alone), seeds=results.seeds[:1]))
    assert "One seed says nothing about chance." in found[0]
    assert all("of one seed, which says nothing" in text for text in found if "against" in text)


def test_classes_and_costs_are_those_of_the_rows(results):
    assert "cat in 7 of 19 rows (at most −5.8)" in said(results, "Which classes get worse")
    assert (
        said(results, "What does a point gained cost").split("? ")[1].startswith("retrieval 0.4 s")
    )
