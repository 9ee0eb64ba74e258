"""From per-run records to `StudyResults`: pairing, statistics, timings, counts."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from gateway.augment.recognition import together, unknown_warning
from gateway.export.results import (
    BASELINE,
    REFERENCES,
    ClassGain,
    ResultRow,
    StudyFailure,
    StudyResults,
)
from gateway.export.selections import Selection
from gateway.export.statistics import Comparison, compare, holm
from gateway.export.trained_runs import TrainedRun
from gateway.study.costs import costs
from gateway.study.fidelity import FidelityRecord, figures_of
from gateway.study.machine import describe_machine
from gateway.study.prompts import (
    cut_prompts,
    doubts,
    prompt_figures,
    remarks,
    senses_of,
    shown_classes,
)
from gateway.study.records import (
    Arm,
    AugmentationRecord,
    RunRecord,
    StudySpec,
)
from gateway.study.timings import timings_of

Recipe = Mapping[str, str | int | float]


def build_results(
    spec: StudySpec,
    records: Sequence[RunRecord],
    augmentations: Sequence[AugmentationRecord] = (),
    *,
    fidelity: Sequence[FidelityRecord] = (),
    failures: Sequence[StudyFailure] = (),
    machine: Mapping[str, str | int] | None = None,
    notes: Sequence[str] = (),
    selections: Sequence[Selection] = (),
) -> StudyResults:
    """Computes the rows of a study, each compared with its own baseline over the seeds of both.

    Every arm needs one record per seed of the spec, or a failure. Raises ValueError if a baseline
    is missing, or if a row lacks a seed: rows on different seeds cannot be compared.
    """
    by_arm: dict[object, dict[int, RunRecord]] = {}
    for record in records:
        by_arm.setdefault(record.arm.key, {})[record.seed] = record
    arms = _in_order(spec, records)
    if not arms or arms[0].method != BASELINE:
        raise ValueError("A study needs the row 'baseline' to compare with; no record has it.")
    runs = {arm.key: _paired(arm, by_arm, spec, failures) for arm in arms}
    arms = [arm for arm in arms if runs[arm.key]]
    baselines = {arm.setting: runs[arm.key] for arm in arms if arm.method == BASELINE}
    common = _common([run for arm in arms for run in runs[arm.key]]) or dict(spec.training)
    rows = _corrected(
        [
            replace(
                _row(spec, arm, runs[arm.key], baselines[arm.setting], augmentations, common),
                images=figures_of(arm, fidelity),
            )
            for arm in arms
        ]
    )
    rejected: Counter[str] = Counter()
    for augmentation in augmentations:
        rejected.update(augmentation.rejected_reasons)
    return StudyResults(
        study=spec.name,
        dataset=spec.dataset,
        images_per_class=spec.images_per_class,
        seeds=spec.seeds,
        training=common,
        deterministic=spec.deterministic,
        safety=spec.safety,
        rows=rows,
        timings=timings_of(arms, records, augmentations),
        rejected=dict(sorted(rejected.items())),
        machine=dict(describe_machine() if machine is None else machine),
        failures=tuple(failures),
        counts_passes=spec.counts_passes,
        subsets=spec.subsets,
        selections=tuple(selections),
        notes=(
            *spec.dataset.warnings,
            *notes,
            *(f"{one.label}, seed {one.seed} failed: {one.message}" for one in failures),
            *(note for row in rows for note in doubts(row.label, row.senses)),
            *_unknown(augmentations),
            *(note for arm in arms for note in remarks(arm.label, _of(arm, augmentations))),
        ),
    )


def _in_order(spec: StudySpec, records: Sequence[RunRecord]) -> list[Arm]:
    """The rows to compare with, by policy and classifier, then the arms of the spec; those that
    have records."""
    seen = {record.arm.key: record.arm for record in records}
    settings = list(dict.fromkeys(arm.setting for arm in spec.arms))
    references = [arm for arm in seen.values() if arm.method in REFERENCES]
    references.sort(
        key=lambda arm: (
            settings.index(arm.setting) if arm.setting in settings else len(settings),
            REFERENCES.index(arm.method),
            arm.images_per_class or spec.images_per_class,
        )
    )
    return references + [arm for arm in spec.arms if arm.key in seen]


def _paired(
    arm: Arm,
    by_arm: Mapping[object, Mapping[int, RunRecord]],
    spec: StudySpec,
    failures: Sequence[StudyFailure],
) -> tuple[RunRecord, ...]:
    """The runs of an arm at the seeds at which its baseline has one as well."""
    base = Arm(BASELINE, "real", {}, arm.policy, arm.classifier)
    for one in (base, arm):
        failed = {failure.seed for failure in failures if failure.label == one.label}
        missing = set(spec.seeds) - by_arm.get(one.key, {}).keys() - failed
        if missing:
            raise ValueError(f"The row {one.label!r} has no run for the seeds {sorted(missing)}.")
    runs, others = by_arm[arm.key], by_arm.get(base.key, {})
    return tuple(runs[seed] for seed in spec.seeds if seed in runs and seed in others)


def _row(
    spec: StudySpec,
    arm: Arm,
    runs: Sequence[RunRecord],
    baseline: Sequence[RunRecord],
    augmentations: Sequence[AugmentationRecord],
    common: Recipe,
) -> ResultRow:
    seeds = tuple(run.seed for run in runs)
    baseline = [run for run in baseline if run.seed in seeds]
    figures = compare([run.accuracy for run in runs], [run.accuracy for run in baseline])
    balanced = compare(
        [run.balanced_accuracy for run in runs], [run.balanced_accuracy for run in baseline]
    )
    own = [a for a in _of(arm, augmentations) if a.seed in seeds]
    own.sort(key=lambda augmentation: seeds.index(augmentation.seed))
    per_image, per_point = costs(own, figures.gain)
    reasons: Counter[str] = Counter()
    for augmentation in own:
        reasons.update(augmentation.rejected_reasons)
    return ResultRow(
        method=arm.method,
        strategy=arm.strategy,
        parameters=dict(sorted(arm.parameters.items())),
        label=arm.label,
        **vars(figures),
        balanced=balanced,
        test_sets=_on_test_sets(runs, baseline),
        training=_differing(runs, common),
        classes=_class_gains(spec, runs, baseline),
        real_image_count=runs[0].real_image_count,
        added_image_count=max(run.added_image_count for run in runs),
        test_image_count=runs[0].test_image_count,
        augmentations=tuple(augmentation.name for augmentation in own),
        rejected_count=sum(augmentation.rejected_count for augmentation in own),
        rejected_reasons=dict(sorted(reasons.items())),
        shortfalls=tuple(dict.fromkeys(text for a in own for text in a.shortfalls)),
        prompts=prompt_figures(own),
        senses=senses_of(own),
        cut_prompts=cut_prompts(own),
        recognition=shown_classes(own),
        policy=arm.policy,
        classifier=arm.classifier,
        images_per_class=arm.images_per_class,
        seeds=seeds,
        seconds_per_image=per_image,
        seconds_per_point=per_point,
        validation_accuracies=tuple(
            run.validation_accuracy for run in runs if run.validation_accuracy is not None
        ),
        making=arm.making,
        done_steps=_steps([run.done_steps for run in runs], common),
        chosen_steps=_steps([run.chosen_step for run in runs], common),
        training_runs=_trained(spec, runs),
    )


def _trained(spec: StudySpec, runs: Sequence[RunRecord]) -> tuple[TrainedRun, ...]:
    """The classifiers by name; none where one is of a gateway of before, which did not keep it."""
    if not all(run.name for run in runs):
        return ()
    return tuple(
        TrainedRun(
            run.name,
            run.metrics_uri,
            run.added_image_count,
            run.top5_accuracy,
            run.calibration_error,
            tuple(run.class_accuracies.get(name) for name in spec.dataset.class_names),
        )
        for run in runs
    )


def _steps(of_runs: Sequence[int], common: Recipe) -> tuple[int, ...]:
    """Steps of runs, where validation images decided over them; else none."""
    return tuple(of_runs) if common.get("schedule") or common.get("choose") else ()


def _on_test_sets(
    runs: Sequence[RunRecord], baseline: Sequence[RunRecord]
) -> dict[str, Comparison]:
    return {
        name: compare(*([run.test_sets[name].accuracy for run in of] for of in (runs, baseline)))
        for name in runs[0].test_sets
    }


def _corrected(rows: Sequence[ResultRow]) -> tuple[ResultRow, ...]:
    """Returns the rows with their p-values corrected for how many methods are compared."""
    corrected = holm([None if row.is_reference else row.p_value for row in rows])
    return tuple(replace(row, p_holm=p) for row, p in zip(rows, corrected, strict=True))


def _of(arm: Arm, augmentations: Sequence[AugmentationRecord]) -> list[AugmentationRecord]:
    return [one for one in augmentations if one.arm.key == arm.key]


def _unknown(augmentations: Sequence[AugmentationRecord]) -> list[str]:
    """Returns the note on classes that CLIP does not know: once, since all rows share them."""
    text = unknown_warning(together([made.recognition for made in augmentations]))
    return [f"{text}."] if text else []


def _class_gains(
    spec: StudySpec, runs: Sequence[RunRecord], baseline: Sequence[RunRecord]
) -> tuple[ClassGain, ...]:
    gains = []
    for name in spec.dataset.class_names:
        values, base = _of_class(runs, name), _of_class(baseline, name)
        if len(values) < len(runs) or len(base) < len(baseline):  # It has no test images.
            gains.append(ClassGain(name, None, None, None, None))
            continue
        one = compare(values, base)
        gains.append(
            ClassGain(
                name, one.mean_accuracy, one.standard_error, one.gain, one.gain_standard_error
            )
        )
    return tuple(gains)


def _of_class(runs: Sequence[RunRecord], name: str) -> list[float]:
    found = [run.class_accuracies.get(name) for run in runs]
    return [value for value in found if value is not None]


def _common(runs: Sequence[RunRecord]) -> Recipe:
    """What all runs were trained with, whichever of them ended first."""
    names = dict.fromkeys(name for run in runs for name in run.recipe)
    return {
        name: runs[0].recipe[name]
        for name in names
        if all(run.recipe.get(name) == runs[0].recipe.get(name) for run in runs)
    }


def _differing(runs: Sequence[RunRecord], common: Recipe) -> Recipe:
    """What a row was trained with that another row was not."""
    names = [name for name in runs[0].recipe if name not in common]
    values = {name: list(dict.fromkeys(run.recipe.get(name, "") for run in runs)) for name in names}
    return {
        name: found[0] if len(found) == 1 else " / ".join(map(str, found))
        for name, found in values.items()
    }
