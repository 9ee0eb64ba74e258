"""The rows of a study: what each trains on, and which augmentation makes its images."""

from collections.abc import Mapping

from gateway.api.resources import Augmentation, Recipe, Study, StudyArm
from gateway.augment.used_models import models_of
from gateway.digests import Plain, digest
from gateway.study import Arm

SAFETY_SAMPLE = 64


def arm_of(arm: StudyArm) -> Arm:
    """Returns the row of an arm."""
    return Arm(arm.method, arm.strategy or "combined", dict(arm.parameters))


def augmentation_of(study: Study, row: Arm, seed: int) -> Augmentation:
    """Returns the augmentation that makes a row's images; the same for rows that only train
    differently."""
    recipe = Recipe(
        method=row.method,
        images_per_class=study.images_per_class,
        seed=seed,
        parameters=dict(row.parameters),
        pool_uri=study.pool_uri,
        deterministic=study.deterministic,
        check_safety=study.check_safety,
        safety_sample=0 if study.check_safety else SAFETY_SAMPLE,
    )
    study_id = study.name.removeprefix("studies/")
    key = digest(study.name, row.method, dict(row.parameters), seed, plain_of(study))
    method = row.method.replace("+", "-")[:24]
    name = f"{study.dataset}/augmentations/{study_id[:24]}-{method}-{key[:12]}"
    return Augmentation(name, recipe, models=models_of(row.method, study.models))


def plain_of(study: Study) -> Plain:
    """Returns what of a study its parts depend on besides row and seed."""
    recipe: Mapping[str, Plain] = study.training.plain()
    made_with: Mapping[str, Plain] = dict(study.models)
    return [study.images_per_class, study.pool_uri, study.deterministic, recipe, made_with]
