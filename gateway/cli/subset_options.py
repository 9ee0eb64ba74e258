"""The options that say which training images are used: one table for all commands."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Annotated, Any

import typer

from gateway.cli.amounts import read_counts
from gateway.cli.failures import CliError
from gateway.cli.subset import RANGES, Subset, faults

# (metavar, help) of each, in the order of a command's help.
OPTIONS = {
    "shots": ("N", "Use only N training images per class; 0 means all."),
    "fraction": ("X", "Use only this share of each class, which keeps the imbalance."),
    "labels": ("N", "Use only N labelled images in all, as many of every class."),
    "long_tail": (
        "X",
        "Use an exponential long tail: the first class has X times the images of the last.",
    ),
    "head_count": (
        "N",
        "With --long-tail: images of the first class; by default the most for which every class "
        "has enough.",
    ),
    "class_counts": ("FILE", "Use only so many of each class: a line 'cat = 50' per class."),
    "subset_seed": (
        "N",
        "Which images those are; 0 by default. The draws of a seed lie within one another.",
    ),
    "validation": (
        "X",
        "Keep this share of each class's images to choose by: nothing is made of them or trained "
        "on them.",
    ),
}


@dataclass(frozen=True)
class GivenSubset:
    """What a command line says of it, not yet checked."""

    values: Mapping[str, Any]

    def read(self, subset_seeds: Sequence[int] = ()) -> Subset:
        """Raises CliError for what does not go together, and a file that cannot be read.

        `subset_seeds` are those of a study, which are no part of one subset.
        """
        given = {name: value for name, value in self.values.items() if value}
        for _, text in faults({**given, "subset_seeds": subset_seeds}, flag_of):
            raise CliError(text, remedy="docs/images.md has the rules, in Which images are used.")
        if file := given.get("class_counts"):
            given["class_counts"] = read_counts("--class-counts", file)
        return Subset(**given)


def flag_of(name: str) -> str:
    """An option as it is written."""
    return f"--{name.replace('_', '-')}"


NONE_GIVEN = GivenSubset({})


def subset_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options of the table in place of its parameter `subset`."""
    signature = inspect.signature(command)
    parameters = []
    for parameter in signature.parameters.values():
        parameters += _parameters() if parameter.name == "subset" else [parameter]

    @wraps(command)
    def with_options(**values: Any) -> None:
        given = {name: values.pop(name) for name in OPTIONS}
        command(**values, subset=GivenSubset(given))

    with_options.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {one.name: one.annotation for one in parameters}
    return with_options


def _parameters() -> list[inspect.Parameter]:
    return [_parameter(name, *shown) for name, shown in OPTIONS.items()]


def _parameter(name: str, metavar: str, text: str) -> inspect.Parameter:
    kind: Any = str
    limits: dict[str, Any] = {}
    default: int | None = None
    if name in RANGES:
        kind, least, most = RANGES[name]
        limits = {"min": least, "max": most}
    if name == "shots":
        limits["min"] = default = 0
    else:
        kind = kind | None
    option = typer.Option(
        flag_of(name), metavar=metavar, help=text, show_default=default is not None, **limits
    )
    usual, annotation = inspect.Parameter.POSITIONAL_OR_KEYWORD, Annotated[kind, option]
    return inspect.Parameter(name, usual, default=default, annotation=annotation)
