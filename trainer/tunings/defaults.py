"""Fills in what a request for a tuning leaves open, and refuses what no tuning can be."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from servicekit.errors import InvalidArgument
from trainer.tunings.methods import METHODS, Method
from trainer.tunings.values import TuningRequest

_EPOCHS, _PATIENCE, _BATCH_SIZE, _CLUSTERS, _RANK = 40, 5, 8, 5, 4
_LEAST_STEPS = 10
_TEMPLATES = ("A photo of {}.",)
# Fields that only some methods know: the text or network that reads them, and their defaults.
_OF_SOME: Mapping[str, tuple[frozenset[str], Any]] = {
    "templates": (frozenset({"word", "prompt"}), _TEMPLATES),
    "cluster_count": (frozenset({"clusters"}), _CLUSTERS),
    "feature_model": (frozenset({"clusters"}), ""),
    "rank": (frozenset({"lora"}), _RANK),
}


def resolve_tuning(request: TuningRequest) -> TuningRequest:
    """Fills in the defaults, except for those that depend on the images. Raises InvalidArgument."""
    if request.method not in METHODS:
        raise InvalidArgument(
            f"{request.method!r} is not a tuning method; known are {', '.join(METHODS)}",
            field="tuning.method",
            reason="UNKNOWN_METHOD",
        )
    method = METHODS[request.method]
    _check_classes(request, method)
    batch_size = request.batch_size or _BATCH_SIZE
    shares = request.machines * request.processes
    if batch_size % shares:
        raise InvalidArgument(
            f"batch_size is {batch_size}, which {shares} processes cannot share (node_count times "
            f"gpus_per_node); use a multiple of {shares}",
            field="tuning.batch_size",
            reason="BATCH_NOT_SHARED",
        )
    for template in request.templates:
        if "{}" not in template:
            raise InvalidArgument(
                f"the template {template!r} has no {{}} for the class; write it where the class "
                "shall stand",
                field="tuning.templates",
            )
    return replace(
        request,
        epoch_count=request.epoch_count or _EPOCHS,
        patience=request.patience or _PATIENCE,
        batch_size=batch_size,
        learning_rate=request.learning_rate or method.learning_rate,
        **{name: _of_some(name, request, method) for name in _OF_SOME},
    )


def with_steps(request: TuningRequest, train_count: int) -> TuningRequest:
    """Fills in the steps of an epoch and of all, for so many images to train on."""
    shown_once = -(-train_count // request.batch_size)
    steps = request.epoch_step_count or max(_LEAST_STEPS, shown_once)
    return replace(request, epoch_step_count=steps, step_count=steps * request.epoch_count)


def texts_of(request: TuningRequest) -> tuple[str, ...]:
    """What texts call the classes of a request that names them."""
    return request.class_texts or tuple(name.replace("_", " ") for name in request.class_names)


def _check_classes(request: TuningRequest, method: Method) -> None:
    names, texts = request.class_names, request.class_texts
    if method.of_one_class and len(names) != 1:
        raise InvalidArgument(
            f"the method {method.id!r} learns one class at a time, and class_names has "
            f"{len(names)}; ask for a tuning of each class",
            field="tuning.class_names",
        )
    if len(set(names)) != len(names):
        raise InvalidArgument(
            "class_names has a class more than once; name each once", field="tuning.class_names"
        )
    if texts and len(texts) != len(names):
        raise InvalidArgument(
            f"class_texts has {len(texts)} texts for {len(names)} classes; give one for each of "
            "class_names, or none",
            field="tuning.class_texts",
        )
    for name, text in zip(names, texts or names, strict=True):
        if not text.partition(",")[0].strip():
            raise InvalidArgument(
                f"the text of the class {name!r} is {text!r}, whose first lemma is empty; write "
                "what texts shall call it",
                field="tuning.class_texts",
            )


def _of_some(name: str, request: TuningRequest, method: Method) -> Any:
    readers, default = _OF_SOME[name]
    given = getattr(request, name)
    if readers & {method.text, method.network}:
        return given or default
    if given:
        raise InvalidArgument(
            f"the method {method.id!r} does not know {name}; leave it out",
            field=f"tuning.{name}",
        )
    return given
