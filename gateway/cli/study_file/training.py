"""The keys 'training' and 'budget' of a study file: how classifiers are trained, and how long."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import yaml

from gateway.cli.recipes import CHOICES, SCHEDULES, needs_validation
from gateway.cli.study_file.nodes import Errors, fields, flag, mapping, nearest, number, text
from gateway.cli.study_file.protocol import Protocol

_BUDGETS = ("steps", "passes")
# What trainings call what a file says otherwise.
_NAMES = {"steps": "step_count", "nodes": "node_count"}
_RANGES = {
    "steps": (1, 1_000_000),
    "batch_size": (2, 4096),
    "image_size": (16, 1024),
    "nodes": (1, 64),
    "gpus_per_node": (1, 16),
}


def training_of(node: yaml.Node, errors: Errors) -> dict[str, Any]:
    """The fields of the command line's TrainingRecipe that a file sets; faults are noted."""

    def whole(one: yaml.Node, name: str) -> int | None:
        return number(one, errors, name, int, *_RANGES[name])

    readers: dict[str, Callable[[yaml.Node], Any]] = {
        name: partial(whole, name=name) for name in _RANGES
    }
    readers["learning_rate"] = lambda one: number(one, errors, "learning_rate", float, 1e-9, 10)
    readers["freeze"] = lambda one: flag(one, errors, "freeze")
    readers["weights"] = lambda one: text(one, errors, "weights")
    readers["schedule"] = lambda one: _one_of(one, errors, "schedule", SCHEDULES)
    readers["choose"] = lambda one: _one_of(one, errors, "choose", CHOICES)
    values = fields(node, errors, "training", readers)
    return {_NAMES.get(name, name): value for name, value in values.items()}


def budget_of(node: yaml.Node, errors: Errors) -> str | None:
    """Steps or passes; None after an error."""
    return _one_of(node, errors, "budget", _BUDGETS)


def check_together(root: yaml.Node, values: dict[str, Any], errors: Errors, *, data: str) -> None:
    """Notes what of training, budget, strategies and protocol does not go together.

    `data` is what was given before the file's own.
    """
    training = values.get("training", {})
    is_in_passes = values.get("budget") == "passes"
    if is_in_passes and not training.get("step_count"):
        errors.add(root, "the budget 'passes' needs the baseline's steps: 'training: {steps: N}'.")
    keys = mapping(root, Errors(errors.place), "a study file")
    at = mapping(keys["training"][1], Errors(errors.place), "training") if training else {}
    source = data or str(values.get("data", ""))
    validation = values.get("protocol", Protocol()).subset.validation
    for name in needs_validation(training, source=source, validation=validation):
        errors.add(at[name][0], f"{name} goes by validation images: 'protocol: {{validation: X}}'.")
    if training.get("schedule") and is_in_passes:
        errors.add(at["schedule"][0], "a schedule ends trainings itself: use the budget 'steps'.")


def _one_of(node: yaml.Node, errors: Errors, what: str, known: Sequence[str]) -> str | None:
    name = text(node, errors, what)
    if name is not None and name not in known:
        errors.add(node, f"there is no {what} {name!r}.{nearest(name, known)}")
        return None
    return name
