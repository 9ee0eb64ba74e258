"""Studies as protos: what of `messages` is about studies."""

from typing import Any

from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.api import resources as res
from gateway.api.row_images import RowImages
from gateway.api.training_messages import training_from_pb, training_to_pb
from gateway.export.results import StudyFailure


def study_to_pb(study: res.Study) -> pb.Study:
    """Returns the proto of a study."""
    message = pb.Study(
        name=study.name,
        dataset=study.dataset,
        images_per_class=study.images_per_class,
        seeds=study.seeds,
        pool_uri=study.pool_uri,
        pool_class_names=study.pool_class_names,
        deterministic=study.deterministic,
        check_safety=study.check_safety,
        models=study.models,
        seed_datasets=study.seed_datasets,
        training=training_to_pb(study.training),
    )
    if study.counts_passes:
        message.budget = pb.TRAINING_BUDGET_PASSES
    for one in study.test_sets:
        message.test_sets.add(**vars(one))
    for arm in study.arms:
        own = {name: value for name, value in vars(arm).items() if name != "images"}
        message.arms.add(**own, **_said(arm.images))
    if study.result:
        message.result.CopyFrom(_result_to_pb(study.result))
    return message


def study_from_pb(message: pb.Study, name: str = "") -> res.Study:
    """Returns the study of a proto, under `name` if it is given."""
    return res.Study(
        name=name or message.name,
        dataset=message.dataset,
        arms=tuple(map(_arm, message.arms)),
        images_per_class=message.images_per_class,
        seeds=tuple(message.seeds),
        pool_uri=message.pool_uri,
        pool_class_names=dict(message.pool_class_names),
        training=training_from_pb(message.training),
        counts_passes=message.budget == pb.TRAINING_BUDGET_PASSES,
        deterministic=message.deterministic,
        check_safety=message.check_safety,
        result=_result_from_pb(message.result) if message.HasField("result") else None,
        models=dict(message.models),
        test_sets=tuple(res.StudyTestSet(one.name, one.dataset) for one in message.test_sets),
        seed_datasets=tuple(message.seed_datasets),
    )


def _arm(arm: pb.StudyArm) -> res.StudyArm:
    return res.StudyArm(
        arm.method,
        arm.strategy,
        dict(arm.parameters),
        arm.policy,
        arm.classifier,
        arm.images_per_class,
        RowImages(
            negative_prompt=arm.negative_prompt,
            make_factor=arm.make_factor,
            keep=arm.keep,
            class_counts=tuple(sorted(arm.class_counts.items())),
            added_manifest_uri=arm.added_manifest_uri,
            added_image_count=arm.added_image_count,
            guidance_scale=arm.guidance_scale if arm.HasField("guidance_scale") else None,
        ),
        arm.selection,
    )


def _said(images: RowImages) -> dict[str, Any]:
    return {**vars(images), "class_counts": dict(images.class_counts)}


def _result_to_pb(result: res.StudyResult) -> pb.StudyResult:
    return pb.StudyResult(
        results_uri=result.results_uri,
        report_uri=result.report_uri,
        summary_uri=result.summary_uri,
        rows=[pb.StudyRow(**vars(row)) for row in result.rows],
        failures=[pb.StudyFailure(**vars(one)) for one in result.failures],
    )


def _result_from_pb(message: pb.StudyResult) -> res.StudyResult:
    rows = tuple(
        res.StudyRow(
            method=row.method,
            strategy=row.strategy,
            accuracies=tuple(row.accuracies),
            mean_accuracy=row.mean_accuracy,
            standard_error=row.standard_error if row.HasField("standard_error") else None,
            augmentations=tuple(row.augmentations),
            added_image_count=row.added_image_count,
            policy=row.policy,
            classifier=row.classifier,
            images_per_class=row.images_per_class,
            seeds=tuple(row.seeds),
        )
        for row in message.rows
    )
    failures = tuple(
        StudyFailure(one.label, one.seed, one.stage, one.message) for one in message.failures
    )
    return res.StudyResult(
        rows, message.results_uri, message.report_uri, message.summary_uri, failures
    )
