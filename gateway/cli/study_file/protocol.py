"""The key 'protocol' of a study file: which training images are used."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from gateway.cli.amounts import read_counts
from gateway.cli.failures import CliError
from gateway.cli.study_file.nodes import Errors, fields, mapping, number, text
from gateway.cli.subset import RANGES, WHOLE, Subset, faults, subset_seeds_of


@dataclass(frozen=True)
class Protocol:
    """The subset, and the seeds of the draws where each seed of the study has one of its own."""

    subset: Subset = WHOLE
    subset_seeds: tuple[int, ...] = ()


def protocol_of(node: yaml.Node, errors: Errors, folder: Path) -> Protocol | None:
    """The keys are those of Subset and subset_seeds; files are relative to `folder`. None after an
    error."""
    readers: dict[str, Callable[[yaml.Node], Any]] = {
        name: partial(_number, errors=errors, name=name) for name in RANGES
    }
    readers["class_counts"] = lambda one: _counts(one, errors, folder)
    readers["subset_seeds"] = lambda one: _subset_seeds(one, errors)
    before = len(errors.found)
    values = fields(node, errors, "protocol", readers)
    places = mapping(node, Errors(errors.place), "protocol")
    for name, what in faults(values, repr):
        errors.add(places[name][0], what)
    seeds = values.pop("subset_seeds", ())
    return Protocol(Subset(**values), seeds) if len(errors.found) == before else None


def _subset_seeds(node: yaml.Node, errors: Errors) -> tuple[int, ...] | None:
    is_list = isinstance(node, yaml.SequenceNode)
    written = [str(one.value) for one in node.value] if is_list else [str(node.value)]
    try:
        return subset_seeds_of(f"[{','.join(written)}]" if is_list else written[0])
    except ValueError as error:
        errors.add(node, f"subset_seeds {error}.")
        return None


def _number(node: yaml.Node, *, errors: Errors, name: str) -> float | None:
    kind, least, most = RANGES[name]
    return number(node, errors, name, kind, least, most)


def _counts(node: yaml.Node, errors: Errors, folder: Path) -> dict[str, int] | None:
    """A mapping of class names to numbers, or a file of them."""
    if isinstance(node, yaml.MappingNode):
        entries = mapping(node, errors, "class_counts").items()
        most = RANGES["shots"][2]
        counts = {
            name: number(value, errors, f"the count of {name!r}", int, 1, most)
            for name, (_, value) in entries
        }
        return {name: count for name, count in counts.items() if count is not None}
    file = text(node, errors, "class_counts")
    if file is None:
        return None
    try:
        return read_counts("class_counts", str(folder / Path(file).expanduser()))
    except CliError as error:
        errors.add(node, f"{error.message[:1].lower()}{error.message[1:]}")
        return None
