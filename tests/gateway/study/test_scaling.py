"""The scaling curve, costs and failures in report.html and STUDY.md."""

from dataclasses import replace

from gateway.export.results import StudyFailure
from gateway.study import Arm, Gallery, RunRecord, build_results, render_report
from gateway.study.report.scaling_plot import lines_of


def scaled(sample, methods=("mvc", "simple"), counts=(25, 50, 100, 300)):
    arms = [Arm(m, "combined", images_per_class=n % 300) for m in methods for n in counts]
    spec = replace(sample.spec, arms=tuple(arms), images_per_class=300)
    classes = spec.dataset.class_names
    runs = []
    for at, arm in enumerate([Arm("baseline", "real"), *arms]):
        added = 0 if not at else 10 * (arm.images_per_class or 300)
        for seed in spec.seeds:
            accuracy = 0.4 + 0.00003 * added + 0.01 * seed - 0.004 * (arm.method == "simple")
            each = dict.fromkeys(classes, accuracy)
            runs.append(RunRecord(arm, seed, accuracy, each, 500, added, 1000, 9.0))
    return spec, runs


def test_each_method_is_a_line_over_its_numbers_of_images(sample):
    results = build_results(*scaled(sample))
    lines = lines_of(results)
    assert list(lines) == ["mvc", "simple"]
    assert [point.ratio for point in lines["mvc"]] == [0.5, 1, 2, 6]
    report = render_report(results, Gallery())
    assert report.count('<g class="curve') == 2
    assert "mvc, 3,000 images, 6 for each real one: 50.0 ± 0.6 %" in report


def test_a_study_of_one_number_of_images_has_no_curve(sample):
    results = build_results(*scaled(sample, counts=(300,)))
    assert lines_of(results) == {}
    assert "How far more images help" not in render_report(results, Gallery())


def test_cells_that_failed_are_listed_with_their_reasons(sample):
    spec, runs = scaled(sample)
    gone = [run for run in runs if (run.arm.key, run.seed) != (spec.arms[0].key, 1)]
    failure = StudyFailure(spec.arms[0].label, 1, "training", "the loss is <nan>")
    report = render_report(build_results(spec, gone, failures=[failure]), Gallery())
    assert '<td class="why">the loss is &lt;nan&gt;</td>' in report
    assert "What failed" not in render_report(build_results(spec, runs), Gallery())
