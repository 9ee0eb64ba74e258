"""The end of a study: results.json, report.html and the study's rows."""

from collections.abc import Sequence
from dataclasses import replace

from gateway.api.resources import Dataset, Study, StudyResult, StudyRow
from gateway.context import Context
from gateway.export.results import DatasetSummary, StudyResults
from gateway.study import (
    Arm,
    AugmentationRecord,
    RunRecord,
    StudySpec,
    build_gallery,
    build_results,
    render_report,
)
from servicekit.storage import to_uri


def write_report(
    context: Context,
    study: Study,
    dataset: Dataset,
    runs: Sequence[RunRecord],
    augmentations: Sequence[AugmentationRecord],
    notes: Sequence[str] = (),
) -> None:
    """Writes both files below the study's name, and the finished study into the catalog."""
    results = build_results(_spec(study, dataset), runs, augmentations, notes=notes)
    gallery = build_gallery(
        context.store,
        dataset.manifest_uri,
        augmentations,
        images_per_class=study.images_per_class,
    )
    files = {
        f"{study.name}/results.json": results.to_json(),
        f"{study.name}/report.html": render_report(results, gallery),
    }
    for key, text in files.items():
        context.store.put(key, text.encode(), overwrite=True)
    results_uri, report_uri = map(to_uri, files)
    context.catalog.finish(
        replace(study, result=StudyResult(_rows(results), results_uri, report_uri))
    )


def _spec(study: Study, dataset: Dataset) -> StudySpec:
    safety = "every image" if study.check_safety else "a sample of 64 images of every row"
    return StudySpec(
        name=study.name.removeprefix("studies/"),
        dataset=DatasetSummary(
            name=dataset.name,
            digest=dataset.digest,
            class_names=tuple(one.class_name for one in dataset.classes),
            train_counts=tuple(one.train_count for one in dataset.classes),
            test_counts=tuple(one.test_count for one in dataset.classes),
            warnings=dataset.warnings,
            rejected_file_count=len(dataset.rejected_files),
        ),
        images_per_class=study.images_per_class,
        seeds=study.seeds,
        arms=tuple(
            Arm(arm.method, arm.strategy or "combined", dict(arm.parameters)) for arm in study.arms
        ),
        training=study.training.plain(),
        deterministic=study.deterministic,
        safety=safety,
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
        )
        for row in results.rows
    )
