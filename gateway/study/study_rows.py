"""The rows of a study: what each trains on, and which augmentation makes its images."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from gateway.api.catalog import Catalog
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
        arm.method,
        arm.strategy or "combined",
        dict(arm.parameters),
        policy=said["policy"],
        classifier=said["classifier"],
        images_per_class=count,
        images=arm.images,
        selection=arm.selection,
    )


def added_per_class(study: Study, row: Arm) -> int:
    """Returns how many images a class a row is to add where it has no number for each class."""
    return 0 if row.method == BASELINE else row.images_per_class or study.images_per_class


def added_in_all(study: Study, dataset: Dataset, row: Arm) -> int:
    """Returns how many images a row is to add, of all classes."""
    if row.images.added_manifest_uri:
        return row.images.added_image_count
    each, own = added_per_class(study, row), dict(row.images.class_counts)
    return sum(own.get(one.class_name, each) for one in dataset.classes)


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
    added = added_in_all(study, dataset, row)
    return replace(recipe, step_count=round(recipe.step_count * (real + added) / max(1, real)))


def shared_augmentations(study: Study, rows: Sequence[Arm]) -> set[str]:
    """Returns the names of all augmentations that the rows need."""
    made = [row for row in rows if is_made(row)]
    return {augmentation_of(study, row, seed).name for row in made for seed in study.seeds}


def made_per_class(study: Study, row: Arm) -> int:
    """Returns how many images a class are made for a row. With numbers of its own for classes those
    that others make are no use to it, so that it makes no more than it takes."""
    return added_per_class(study, row) if row.images.class_counts else study.images_per_class


def is_made(row: Arm) -> bool:
    """Says whether a method makes the images of a row."""
    is_reference = row.method in (BASELINE, MATCHED, ORACLE)
    return not is_reference and not row.images.added_manifest_uri


def augmentation_of(study: Study, row: Arm, seed: int) -> Augmentation:
    """Returns the augmentation that makes a row's images; the same for rows that only train
    differently, or take fewer of them."""
    images = row.images
    recipe = Recipe(
        method=row.method,
        images_per_class=made_per_class(study, row),
        seed=seed,
        parameters=dict(row.parameters),
        pool_uri=study.pool_uri,
        deterministic=study.deterministic,
        check_safety=study.check_safety,
        safety_sample=0 if study.check_safety else SAFETY_SAMPLE,
        class_counts=dict(images.class_counts),
        guidance_scale=images.guidance_scale,
        negative_prompt=images.negative_prompt,
        make_factor=images.make_factor,
        keep=images.keep,
    )
    study_id = study.name.removeprefix("studies/")
    # Rows whose images are made as usual keep the names that there were.
    own: list[Plain] = [recipe.images_per_class, images.said()] if images.said() else []
    key = digest(study.name, row.method, dict(row.parameters), seed, plain_of(study), *own)
    method = re.sub(r"[^a-z0-9_-]+", "-", row.method)[:24]
    name = f"{study.dataset_of(seed)}/augmentations/{study_id[:24]}-{method}-{key[:12]}"
    return Augmentation(name, recipe, models=models_of(row.method, study.models))


def test_sets_of(catalog: Catalog, study: Study) -> tuple[tuple[str, str], ...]:
    """Returns name and manifest of each further test set. Raises NotFound for a dataset that is
    not there."""
    return tuple((one.name, catalog.dataset(one.dataset).manifest_uri) for one in study.test_sets)


def datasets_of(catalog: Catalog, study: Study) -> dict[int, Dataset]:
    """Returns the dataset of each seed. Raises NotFound for one that is not there."""
    found = {name: catalog.dataset(name) for name in {study.dataset, *study.seed_datasets}}
    return {seed: found[study.dataset_of(seed)] for seed in study.seeds}


def plain_of(study: Study) -> Plain:
    """Returns what of a study its parts depend on besides row and seed."""
    recipe: Mapping[str, Plain] = study.training.plain()
    made_with: Mapping[str, Plain] = dict(study.models)
    return [study.images_per_class, study.pool_uri, study.deterministic, recipe, made_with]
