"""The rows of a study: what each trains on, and which augmentation makes its images."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from gateway.api.resources import Augmentation, Dataset, Recipe, Study, StudyArm, TrainingRecipe
from gateway.augment.used_models import models_of
from gateway.digests import Plain, digest
from gateway.export.results import BASELINE, MATCHED, ORACLE
from gateway.study.records import Arm

SAFETY_SAMPLE = 64


def rows_of(study: Study, *, has_oracle: bool) -> tuple[Arm, ...]:
    """Returns all rows: for each policy and classifier those to compare with, then the arms."""
    arms = [arm_of(study, arm) for arm in study.arms]
    counts: dict[tuple[str, str], dict[int, None]] = {}
    for arm in arms:
        counts.setdefault(arm.setting, {})[arm.images_per_class] = None
    rows: list[Arm] = []
    for (policy, classifier), added in counts.items():
        rows.append(Arm(BASELINE, "real", {}, policy, classifier))
        for method, strategy, is_there in (
            (MATCHED, "real", study.counts_passes),
            (ORACLE, "combined", has_oracle),
        ):
            if is_there:
                rows += [Arm(method, strategy, {}, policy, classifier, n) for n in added]
    return (*rows, *arms)


def arm_of(study: Study, arm: StudyArm) -> Arm:
    """Returns the row of an arm. What it says as the study does is left out."""
    own = {"policy": arm.policy, "classifier": arm.classifier}
    said = {name: "" if one == getattr(study.training, name) else one for name, one in own.items()}
    is_whole = arm.images_per_class == study.images_per_class
    count = 0 if is_whole else arm.images_per_class
    return Arm(
        arm.method, arm.strategy or "combined", dict(arm.parameters), **said, images_per_class=count
    )


def added_per_class(study: Study, row: Arm) -> int:
    """Returns how many images a class a row is to add."""
    return 0 if row.method == BASELINE else row.images_per_class or study.images_per_class


def recipe_of(study: Study, dataset: Dataset, row: Arm) -> TrainingRecipe:
    """Returns how the classifiers of a row are trained."""
    recipe = study.training
    recipe = replace(
        recipe,
        policy=row.policy or recipe.policy,
        classifier=row.classifier or recipe.classifier,
    )
    if not study.counts_passes:
        return recipe
    real = sum(one.train_count for one in dataset.classes)
    added = added_per_class(study, row) * len(dataset.classes)
    return replace(recipe, step_count=round(recipe.step_count * (real + added) / max(1, real)))


def shared_augmentations(study: Study, rows: Sequence[Arm]) -> set[str]:
    """Returns the names of all augmentations that the rows need."""
    made = [row for row in rows if row.method not in (BASELINE, MATCHED, ORACLE)]
    return {augmentation_of(study, row, seed).name for row in made for seed in study.seeds}


def augmentation_of(study: Study, row: Arm, seed: int) -> Augmentation:
    """Returns the augmentation that makes a row's images; the same for rows that only train
    differently, or take fewer of them."""
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
    method = re.sub(r"[^a-z0-9_-]+", "-", row.method)[:24]
    name = f"{study.dataset}/augmentations/{study_id[:24]}-{method}-{key[:12]}"
    return Augmentation(name, recipe, models=models_of(row.method, study.models))


def plain_of(study: Study) -> Plain:
    """Returns what of a study its parts depend on besides row and seed."""
    recipe: Mapping[str, Plain] = study.training.plain()
    made_with: Mapping[str, Plain] = dict(study.models)
    return [study.images_per_class, study.pool_uri, study.deterministic, recipe, made_with]
