"""Whether the methods, strategies and the like of a study file are there, each at its line."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, Any

import yaml

from gateway.cli import recipes
from gateway.cli.failures import CliError
from gateway.cli.image_options import KEYS
from gateway.cli.known import check_value, in_mix, parameters_in
from gateway.cli.study_file.choices import SELECT, choices_of
from gateway.cli.study_file.nodes import Errors, mapping, nearest, text

if TYPE_CHECKING:
    from variegate.gateway.v1 import gateway_pb2 as pb


@dataclass(frozen=True)
class Known:
    """What a system has. `trains` has the names of strategies, policies and classifiers by kind."""

    methods: Sequence["pb.Method"]
    trains: Mapping[str, Sequence[str]] = field(default_factory=lambda: recipes.OWN)


def name_of(node: yaml.Node, errors: Errors, kind: str, known: Known | None) -> str | None:
    """The name of a strategy, policy or classifier."""
    name = text(node, errors, f"a {kind}")
    if name is None or known is None:
        return name
    try:
        recipes.check(known.trains, **{kind: name})
    except CliError as error:
        errors.add(node, f"{error.message[:1].lower()}{error.message[1:]}")
    if kind == "strategy" and name == recipes.WITHOUT_ADDED:
        errors.add(
            node, f"the strategy {name!r} uses no added images; the baseline is trained anyway."
        )
    return name


@dataclass(frozen=True, repr=False)
class Entry:
    """A method, or a mix, with its parameters and the keys of image_options.py that it has."""

    name: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    images: Mapping[str, Any] = field(default_factory=dict)
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    selection: str = ""
    node: yaml.Node | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        own = {**self.parameters, **self.images}
        own |= {SELECT: dict(self.choices)} if self.choices else {}
        return f"{self.name}: {own}" if own else repr(self.name)

    def candidates(self, number: int) -> list["Entry"]:
        """The entry itself, or one for each way to combine the values to select from.

        `number` tells the selections of a study apart.
        """
        if not self.choices:
            return [self]
        name = f"{number + 1}-{self.name}"[:64]
        combined = product(*self.choices.values())
        tried = [dict(zip(self.choices, values, strict=True)) for values in combined]
        return [
            replace(self, parameters={**self.parameters, **one}, choices={}, selection=name)
            for one in tried
        ]


def method_of(
    node: yaml.Node,
    errors: Errors,
    known: Known | None,
    read_images: Callable[[Mapping[str, yaml.Node]], Mapping[str, Any]],
) -> Entry | None:
    """A method, or a mix: its id, or {id: {parameter: value, make: 2, ...}}."""
    if not isinstance(node, yaml.MappingNode):
        name = text(node, errors, "a method")
        if name is None:
            return None
        return Entry(*_checked(node, name, {}, errors, known), node=node)
    entries = mapping(node, errors, "a method")
    if len(entries) != 1:
        errors.add(node, "a method is its id, or its id with parameters: 'mvc: {coarse_steps: 4}'.")
        return None
    [(name, (key, value))] = entries.items()
    own = mapping(value, errors, f"the method {name!r}")
    images = {one: own.pop(one)[1] for one in KEYS if one in own}
    tried = own.pop(SELECT, None)
    entry = Entry(*_checked(key, name, own, errors, known), read_images(images), node=key)
    if not tried:
        return entry
    choices = choices_of(*tried, name, own, errors)
    for one, node in ((one, node) for one, values in choices.items() for node in values):
        _checked(key, name, {one: (tried[0], node)}, errors, known)
    return replace(entry, choices={one: _texts(values) for one, values in choices.items()})


def _texts(nodes: Sequence[yaml.Node]) -> tuple[str, ...]:
    return tuple(str(one.value) for one in nodes)


def _checked(
    node: yaml.Node,
    name: str,
    own: Mapping[str, tuple[yaml.Node, yaml.Node]],
    errors: Errors,
    known: Known | None,
) -> tuple[str, dict[str, str]]:
    given = {key: text(value, errors, f"{name}.{key}") or "" for key, (_, value) in own.items()}
    if known is None:
        return name, given
    methods = {method.id: method for method in known.methods}
    if ":" not in name and name not in methods:
        errors.add(node, f"there is no method {name!r}.{nearest(name, methods)}")
        return name, given
    try:
        parameters = parameters_in(in_mix(known.methods, name))
    except CliError as error:
        errors.add(node, f"{error.message[:1].lower()}{error.message[1:]}")
        return name, given
    for key, (at, value) in own.items():
        if key not in parameters:
            said = nearest(key, [*parameters, *KEYS]) if parameters else " It has none."
            errors.add(at, f"the method {name!r} has no parameter {key!r}.{said}")
        elif given[key]:
            _check_value(value, name, parameters[key], given[key], errors)
    return name, given


def _check_value(
    node: yaml.Node, method: str, parameter: "pb.MethodParameter", given: str, errors: Errors
) -> None:
    try:
        check_value(parameter, given)
    except CliError as error:
        errors.add(node, f"{method}: {error.message}")
