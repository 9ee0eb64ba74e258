"""Whether the rows that a study asks for can be made, or are there."""

import re
from collections.abc import Mapping
from dataclasses import replace

import pyarrow as pa

from gateway.api.recipe_checks import check_guidance, check_keep, check_no_pool, check_pins
from gateway.api.resources import Dataset, Recipe, Study, StudyArm
from gateway.augment.tables import Manifest
from gateway.augment.wanted import check_counts
from gateway.export.results import REFERENCES
from gateway.methods.composition import parts_of
from gateway.methods.registry import all_methods
from servicekit.errors import InvalidArgument, NotFound
from servicekit.storage import ObjectStore, to_key

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


def checked_arms(store: ObjectStore, study: Study, dataset: Dataset, pool_uri: str) -> Study:
    """Returns the study with the number of images of each arm that has them already.

    Raises InvalidArgument naming the arm by its number; reads the store.
    """
    counts: dict[str, int] = {}
    arms = []
    for number, arm in enumerate(study.arms):
        try:
            if uri := arm.images.added_manifest_uri:
                _check_added(study, arm)
                if uri not in counts:
                    counts[uri] = _image_count(store, uri)
            else:
                _check_made(store, study, dataset, arm, pool_uri)
        except InvalidArgument as error:
            field = error.field.replace("augmentation", f"study.arms[{number}]")
            raise InvalidArgument(error.message, field=field, reason=error.reason) from error
        images = replace(arm.images, added_image_count=counts.get(uri, 0))
        arms.append(replace(arm, images=images))
    return replace(study, arms=tuple(arms))


def _check_made(
    store: ObjectStore, study: Study, dataset: Dataset, arm: StudyArm, pool_uri: str
) -> None:
    images = arm.images
    recipe = Recipe(
        arm.method,
        arm.images_per_class or study.images_per_class,
        guidance_scale=images.guidance_scale,
        check_safety=study.check_safety,
        class_counts=dict(images.class_counts),
        negative_prompt=images.negative_prompt,
        make_factor=images.make_factor,
        keep=images.keep,
    )
    parts = parts_of(arm.method, arm.parameters)
    check_pins(parts, dataset)
    if not pool_uri:
        check_no_pool(parts, "study.pool_uri")
    for part in parts:
        check_guidance(part.method, recipe)
    check_keep(recipe)
    if recipe.class_counts:
        check_counts(store, dataset, recipe)


def _check_added(study: Study, arm: StudyArm) -> None:
    """Raises InvalidArgument for a name that is taken, and for what only made images have."""
    why, field, images = "", "method", arm.images
    made: Mapping[str, object] = {
        "parameters": arm.parameters,
        "images_per_class": arm.images_per_class,
        "negative_prompt": images.negative_prompt,
        "guidance_scale": images.guidance_scale is not None,
        "make_factor": images.make_factor,
        "keep": images.keep,
        "class_counts": images.class_counts,
    }
    if not _NAME.fullmatch(arm.method):
        why = (
            f"the row of added images is called {arm.method!r}; a name is 1 to 64 of letters, "
            "digits, '-' and '_', starting with a letter"
        )
    elif arm.method in REFERENCES or arm.method in all_methods():
        why = f"{arm.method!r} is a row or a method already; call the added images otherwise"
    elif said := [name for name, value in made.items() if value]:
        field = said[0]
        why = f"{field} is about images that are made, and those of {arm.method!r} are there"
    elif study.counts_passes:
        field = "added_manifest_uri"
        why = (
            "with a budget in passes every number of images has a row of real images alone, and "
            f"the number of {arm.method!r} is its own; take a budget in steps"
        )
    if why:
        raise InvalidArgument(why, field=f"augmentation.{field}", reason="BAD_ADDED_IMAGES")


def _image_count(store: ObjectStore, uri: str) -> int:
    field = "augmentation.added_manifest_uri"
    try:
        to_key(uri, field)
        count = len(Manifest(store, uri))
    except NotFound as error:
        raise InvalidArgument(
            f"there is no manifest {uri} in the store", field=field, reason="MANIFEST_MISSING"
        ) from error
    except pa.ArrowException as error:
        raise InvalidArgument(
            f"{uri} is no parquet file", field=field, reason="MANIFEST_UNREADABLE"
        ) from error
    if not count:
        raise InvalidArgument(f"{uri} has no images", field=field, reason="NO_IMAGES")
    return count
