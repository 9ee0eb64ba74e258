"""The key `select` of a method: values of its parameters that validation images select from."""

from collections.abc import Mapping
from math import prod

import yaml

from gateway.cli.study_file.nodes import Errors, items, mapping, text

SELECT = "select"
_MOST = 64


def choices_of(
    key: yaml.Node,
    node: yaml.Node,
    method: str,
    own: Mapping[str, object],
    errors: Errors,
) -> dict[str, list[yaml.Node]]:
    """The values of each parameter, as the nodes that they stand in.

    Notes what is no list of several, stands twice or is given outside `select`, and more
    combinations than may be tried.
    """
    found: dict[str, list[yaml.Node]] = {}
    for name, (at, values) in mapping(node, errors, f"{method}.{SELECT}").items():
        given = items(values, errors, f"{method}.{SELECT}.{name}")
        said = [text(one, errors, f"a value of {name}") for one in given]
        if name in own:
            errors.add(at, f"{method} has {name!r} and selects it as well; keep one of them.")
        if len(given) < 2:
            errors.add(at, f"{SELECT} needs two values of {name!r} or more to select from.")
        elif len(set(said)) < len(said):
            errors.add(at, f"{SELECT} has a value of {name!r} twice.")
        if None not in said:
            found[name] = given
    if not found:
        errors.add(
            key, f"{SELECT} names parameters with values: 'select: {{strength: [0.3, 0.6]}}'."
        )
    if (count := prod(map(len, found.values()))) > _MOST:
        errors.add(key, f"{SELECT} of {method} has {count:,} candidates, and {_MOST} at most.")
        return {}
    return found
