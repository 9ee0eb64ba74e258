"""Fills in what a request leaves open, and refuses what no run can be."""

from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from servicekit.errors import InvalidArgument
from trainer import recipes
from trainer.classifiers.table import TIMM, Classifier, classifier_of, classifiers
from trainer.classifiers.timm_table import timm_networks
from trainer.image_policies import STANDARD, UnfitPoliciesError, image_policy, parts_of
from trainer.runs import BEST, LAST, RunRequest
from trainer.schedules import PLATEAU, Plateau, epoch_steps

_STRATEGY, _CLASSIFIER = "combined", "cnn4"
_BATCH_SIZE, _IMAGE_SIZE, _SMALLEST_IMAGE = 64, 32, 16
_MOST_STEPS = 1_000_000

_Known = TypeVar("_Known", recipes.Recipe, Classifier)


def resolve(request: RunRequest, planned_count: int = 0) -> RunRequest:
    """Fills in the defaults, except for the image size, which depends on the data.

    `planned_count` synthetic images are not made yet, so the request cannot name their manifest.
    The steps default to the classifier's, whatever the strategy, so that the rows of a comparison
    have the same budget; those of the schedule "plateau" depend on the data, too (`with_steps`).
    Raises InvalidArgument for unknown names and impossible combinations.
    """
    has_synthetic = bool(request.synthetic_manifest_uri) or planned_count > 0
    strategy = request.strategy or (_STRATEGY if has_synthetic else "real")
    classifier = _classifier(request.classifier or _CLASSIFIER)
    policy = _policy(request.policy or STANDARD)
    _check_sizes(request, classifier)
    recipe = _known(recipes.recipes("strategies"), "strategy", strategy)
    _check_fit(request, recipe, classifier)
    if recipe.needs_synthetic:
        if not has_synthetic:
            raise InvalidArgument(
                f"the strategy {strategy!r} needs synthetic images; set synthetic_manifest_uri or "
                "use the strategy 'real'",
                field="training_run.synthetic_manifest_uri",
                reason="FIELD_REQUIRED",
            )
    elif has_synthetic:
        raise InvalidArgument(
            f"the strategy {strategy!r} uses no synthetic images; leave synthetic_manifest_uri out "
            "or use the strategy 'combined'",
            field="training_run.strategy",
        )
    _check_test_sets(request)
    _check_choices(request, recipe)
    step_count = request.step_count
    if request.schedule != PLATEAU:
        step_count = step_count or classifier.step_count
    return replace(
        request,
        strategy=strategy,
        policy=policy,
        classifier=classifier.id,
        step_count=step_count,
        choose=request.choose or LAST,
        batch_size=request.batch_size or _BATCH_SIZE,
        learning_rate=request.learning_rate or classifier.optimizer.learning_rate,
    )


def with_image_size(request: RunRequest, sides: NDArray[np.int64]) -> RunRequest:
    """Fills in the image size: the median of the shorter sides of the real training images.

    It is kept between the smallest that the classifier can take and the largest that it is usually
    given. Weights to start from want the size that their network was trained at, where it is known.
    `sides` may hold zeros, for images whose size is not known.
    """
    if request.image_size:
        return request
    classifier = classifier_of(request.classifier)
    if request.initial_weights_uri and classifier.has_own_pixels:
        return replace(request, image_size=classifier.usual_image)
    known = sides[sides > 0]
    wanted = int(np.median(known)) if len(known) else _IMAGE_SIZE
    wanted = min(wanted, classifier.usual_image)
    return replace(request, image_size=max(wanted, smallest_image(classifier)))


def with_steps(request: RunRequest, image_count: int) -> RunRequest:
    """Fills in the most steps of the schedule "plateau" for so many training images.

    Raises InvalidArgument if they are more than a run can have.
    """
    if request.schedule != PLATEAU or request.step_count:
        return request
    step_count = Plateau().epoch_count * epoch_steps(image_count, request.batch_size)
    if step_count > _MOST_STEPS:
        raise InvalidArgument(
            f"{Plateau().epoch_count} epochs of {image_count} images are {step_count:,} steps, and "
            f"a run has at most {_MOST_STEPS:,}; use a larger batch_size, or give step_count",
            field="training_run.step_count",
            reason="FIELD_OUT_OF_RANGE",
        )
    return replace(request, step_count=step_count)


def smallest_image(classifier: Classifier) -> int:
    """The smallest image size that a classifier can take, in pixels."""
    return max(_SMALLEST_IMAGE, classifier.smallest_image)


def _classifier(wanted: str) -> Classifier:
    if not wanted.startswith(f"{TIMM}:"):
        return _known(classifiers(), "classifier", wanted)
    try:
        return classifier_of(wanted)
    except KeyError:
        network = wanted.removeprefix(f"{TIMM}:")
        close = ", ".join(get_close_matches(network, timm_networks(), 3))
        raise InvalidArgument(
            f"timm has no network {network!r}; {f'it has {close}' if close else 'see its list'}",
            field="training_run.classifier",
            reason="UNKNOWN_CLASSIFIER",
        ) from None


def _policy(wanted: str) -> str:
    for part in parts_of(wanted):
        _known(recipes.recipes("policies"), "policy", part)
    try:
        return image_policy(wanted).name
    except UnfitPoliciesError as error:
        raise InvalidArgument(
            str(error), field="training_run.policy", reason="POLICY_UNFIT"
        ) from error


def _check_sizes(request: RunRequest, classifier: Classifier) -> None:
    smallest, largest = smallest_image(classifier), classifier.largest_image
    if request.image_size and not smallest <= request.image_size <= largest:
        takes = f"{smallest} to {largest}" if smallest < largest else f"{largest} alone"
        raise InvalidArgument(
            f"image_size is {request.image_size}; the classifier {classifier.id!r} takes {takes}, "
            "or 0, for the trainer's choice",
            field="training_run.image_size",
            reason="FIELD_OUT_OF_RANGE",
        )
    shares, batch = request.machines * request.processes, request.batch_size or _BATCH_SIZE
    if batch % shares:
        raise InvalidArgument(
            f"batch_size is {batch}, which {shares} processes cannot share (node_count times "
            f"gpus_per_node); use a multiple of {shares}",
            field="training_run.batch_size",
            reason="BATCH_NOT_SHARED",
        )
    if request.batch_size == 1:
        raise InvalidArgument(
            f"batch_size is 1; use 2 to 4096, or 0 for {_BATCH_SIZE}",
            field="training_run.batch_size",
            reason="FIELD_OUT_OF_RANGE",
        )


def _check_fit(request: RunRequest, strategy: recipes.Recipe, classifier: Classifier) -> None:
    if strategy.needs_batch_norm and not classifier.has_batch_norm:
        raise InvalidArgument(
            f"the strategy {strategy.id!r} needs a classifier with batch norm, which "
            f"{classifier.id!r} lacks; use the strategy 'combined', or a classifier such as "
            "'resnet50'",
            field="training_run.strategy",
            reason="NO_BATCH_NORM",
        )
    if request.freeze and not request.initial_weights_uri:
        raise InvalidArgument(
            "freeze keeps all but the last layer as initial_weights_uri has it; give that as well",
            field="training_run.initial_weights_uri",
            reason="FIELD_REQUIRED",
        )
    if request.freeze and strategy.needs_batch_norm:
        raise InvalidArgument(
            f"the strategy {strategy.id!r} trains batch norms, which freeze keeps as they are; "
            "leave one of them out",
            field="training_run.freeze",
            reason="FREEZE_UNFIT",
        )
    shares, batch = request.machines * request.processes, request.batch_size or _BATCH_SIZE
    if batch // shares < strategy.smallest_batch:
        raise InvalidArgument(
            f"batch_size is {batch}, which leaves each process {batch // shares} images; the "
            f"strategy {strategy.id!r} needs {strategy.smallest_batch} and more",
            field="training_run.batch_size",
            reason="FIELD_OUT_OF_RANGE",
        )


def _check_choices(request: RunRequest, strategy: recipes.Recipe) -> None:
    """What decides by validation images needs some; test images are never used for it."""
    known = {"schedule": ("", PLATEAU), "choose": ("", LAST, BEST)}
    for field, values in known.items():
        value = getattr(request, field)
        if value not in values:
            raise InvalidArgument(
                f"{value!r} is not known as {field}; known are {', '.join(values[1:])}",
                field=f"training_run.{field}",
                reason=f"UNKNOWN_{field.upper()}",
            )
        if value not in ("", LAST) and not request.validation:
            raise InvalidArgument(
                f"the {field} {value!r} goes by images of the split 'validation', and the run has "
                "none: import the dataset with a validation_fraction, and set validation",
                field="training_run.validation",
                reason="FIELD_REQUIRED",
            )
    if request.schedule and strategy.has_own_pace:
        raise InvalidArgument(
            f"the strategy {strategy.id!r} has a pace of its own; leave the schedule "
            f"{request.schedule!r} out, or use the strategy 'combined'",
            field="training_run.schedule",
            reason="SCHEDULE_UNFIT",
        )


def _check_test_sets(request: RunRequest) -> None:
    names = [one.name for one in request.test_sets]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InvalidArgument(
            f"two test sets are called {repeated[0]!r}; give each a name of its own",
            field="training_run.test_sets",
            reason="NAME_TAKEN",
        )


def _known(found: Mapping[str, _Known], field: str, wanted: str) -> _Known:
    if wanted not in found:
        raise InvalidArgument(
            f"{wanted!r} is not a {field}; known are {', '.join(found)}",
            field=f"training_run.{field}",
            reason=f"UNKNOWN_{field.upper()}",
        )
    return found[wanted]
