"""The end of a study: results.json, report.html, STUDY.md and the study's rows."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from gateway.api.resources import Dataset, Study, StudyResult, StudyRow
from gateway.context import Context
from gateway.export.results import (
    REFERENCES,
    DatasetSummary,
    SeedSubset,
    StudyFailure,
    StudyResults,
)
from gateway.study import (
    Arm,
    AugmentationRecord,
    RunRecord,
    StudySpec,
    build_gallery,
    build_results,
    render_report,
)
from gateway.study.fidelity import FidelityRecord
from gateway.study.selecting import Records, select
from gateway.study.summary import summary_of
from servicekit.storage import to_uri


def write_report(
    context: Context,
    study: Study,
    datasets: Mapping[int, Dataset],
    rows: Sequence[Arm],
    runs: Sequence[RunRecord],
    augmentations: Sequence[AugmentationRecord],
    failures: Sequence[StudyFailure],
    fidelity: Sequence[FidelityRecord] = (),
    notes: Sequence[str] = (),
) -> None:
    """Writes its files below the study's name, and the finished study into the catalog."""
    places = {(row.label, seed): at for at, row in enumerate(rows) for seed in study.seeds}
    failed = sorted(failures, key=lambda one: (places[one.label, one.seed], one.seed))
    all_of_them = Records(
        tuple(rows), tuple(runs), tuple(augmentations), tuple(failed), tuple(fidelity)
    )
    shown = select(all_of_them, study.seeds)
    results = build_results(
        _spec(study, datasets, shown.rows),
        shown.runs,
        shown.augmentations,
        fidelity=shown.fidelity,
        failures=shown.failures,
        notes=(*notes, *shown.notes),
        selections=shown.selections,
    )
    gallery = build_gallery(
        context.store,
        {seed: one.manifest_uri for seed, one in datasets.items()},
        shown.augmentations,
        images_per_class=study.images_per_class,
    )
    files = {
        f"{study.name}/results.json": results.to_json(),
        f"{study.name}/report.html": render_report(results, gallery),
        f"{study.name}/STUDY.md": summary_of(study, results),
    }
    for key, text in files.items():
        context.store.put(key, text.encode(), overwrite=True)
    results_uri, report_uri, summary_uri = map(to_uri, files)
    context.catalog.finish(
        replace(
            study,
            result=StudyResult(
                _rows(results), results_uri, report_uri, summary_uri, shown.failures
            ),
        )
    )


def _spec(study: Study, datasets: Mapping[int, Dataset], rows: Sequence[Arm]) -> StudySpec:
    dataset = datasets[study.seeds[0]]
    warnings = (text for one in datasets.values() for text in one.warnings)
    safety = "every image" if study.check_safety else "a sample of 64 images of every row"
    return StudySpec(
        name=study.name.removeprefix("studies/"),
        dataset=DatasetSummary(
            name=dataset.name,
            digest=dataset.digest,
            class_names=tuple(one.class_name for one in dataset.classes),
            train_counts=tuple(one.train_count for one in dataset.classes),
            test_counts=tuple(one.test_count for one in dataset.classes),
            warnings=tuple(dict.fromkeys(warnings)),
            rejected_file_count=len(dataset.rejected_files),
            validation_counts=(
                tuple(one.validation_count for one in dataset.classes)
                if dataset.has_validation
                else ()
            ),
        ),
        images_per_class=study.images_per_class,
        seeds=study.seeds,
        arms=tuple(row for row in rows if row.method not in REFERENCES),
        counts_passes=study.counts_passes,
        training=study.training.plain(),
        deterministic=study.deterministic,
        safety=safety,
        subsets=_subsets(study, datasets),
    )


def _subsets(study: Study, datasets: Mapping[int, Dataset]) -> tuple[SeedSubset, ...]:
    """What each seed draws, where each draws its own."""
    if not study.seed_datasets:
        return ()
    return tuple(
        SeedSubset(seed, one.name, one.digest, one.source.subset.seed)
        for seed, one in datasets.items()
    )


def _rows(results: StudyResults) -> tuple[StudyRow, ...]:
    return tuple(
        StudyRow(
            method=row.method,
            strategy=row.strategy,
            accuracies=row.accuracies,
            mean_accuracy=row.mean_accuracy,
            standard_error=row.standard_error,
            augmentations=row.augmentations,
            added_image_count=row.added_image_count,
            policy=row.policy,
            classifier=row.classifier,
            images_per_class=row.images_per_class,
            seeds=row.seeds,
        )
        for row in results.rows
    )
