"""What the report says of one seed, of losses and of classes that nobody tested."""

from dataclasses import replace

from gateway.study import Gallery, build_results, render_report


def measured(sample, seeds, losing=0.0, untested=(), counts=None):
    """The results of the sample's study with these seeds, one method alone."""
    arm = sample.spec.arms[0]
    spec = replace(sample.spec, seeds=seeds, arms=(arm,))
    if counts:
        spec = replace(spec, dataset=replace(spec.dataset, test_counts=counts))
    kept = [
        r for r in sample.records if r.seed in seeds and r.arm.method in ("baseline", arm.method)
    ]
    records = []
    for run in kept:
        lost = losing if run.arm.method != "baseline" else 0.0
        shares = {n: None if n in untested else v for n, v in run.class_accuracies.items()}
        records.append(replace(run, accuracy=run.accuracy - lost, class_accuracies=shares))
    return build_results(spec, records, machine={})


def test_one_seed_has_no_errors_anywhere(sample):
    html = render_report(measured(sample, (0,)), Gallery())
    assert "± 0.0" not in html and "±0.0" not in html
    assert "± n/a" in html and "±n/a" in html and ">n/a</span>" in html


def test_a_sure_loss_is_said_as_plainly_as_a_gain(sample):
    html = render_report(measured(sample, (0, 1, 2), losing=0.2), Gallery())
    assert "Every method is worse than the real images alone." in html
    assert "That is worse by more than two standard errors." in html
    assert ">worse</span>" in html


def test_a_class_without_test_photographs_is_named_and_has_no_figure(sample):
    name = sample.spec.dataset.class_names[3]
    html = render_report(measured(sample, (0, 1, 2), untested={name}), Gallery())
    assert f'{name}: no test images"' in html


def test_balanced_accuracy_is_shown_where_classes_are_unequal_and_only_there(sample):
    counts = (10,) * 9 + (500,)
    unequal = render_report(measured(sample, (0, 1, 2), counts=counts), Gallery())
    assert "Balanced %" in unequal and "each class counting alike" in unequal
    assert "Balanced %" not in render_report(measured(sample, (0, 1, 2)), Gallery())
