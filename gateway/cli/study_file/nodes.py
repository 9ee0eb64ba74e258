"""YAML as values that know their line, and the errors that were found in them."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, TypeVar

import yaml

from gateway.cli.failures import CliError

T = TypeVar("T")

_MOST_BYTES = 1_000_000
_MOST_ERRORS = 50
_SET = "--set "  # Begins the names of documents that are values of that option.
# A file with aliases can be small and stand for any number of values.
_MOST_VALUES = 20_000
_TRUE, _FALSE = ("true", "yes", "on"), ("false", "no", "off")


@dataclass
class Errors:
    """What is wrong with a file, by line. Reading goes on after each, to find the others."""

    place: str
    found: list[tuple[int, str, str]] = field(default_factory=list)
    value_count: int = 0

    def add(self, node: yaml.Node, text: str) -> None:
        """Notes an error at a node; the same one is noted once."""
        name = str(node.start_mark.name)
        of_file = not name.startswith(_SET)
        line = node.start_mark.line + 1 if of_file else 0
        entry = (line, f"{self.place}:{line}" if of_file else name, text)
        if entry not in self.found:
            self.found.append(entry)

    def raise_any(self) -> None:
        """Raises CliError with all of them, in order of their lines."""
        if not self.found:
            return
        lines = [f"{place}: {text}" for _, place, text in sorted(self.found)]
        if len(lines) > _MOST_ERRORS:
            lines = [*lines[:_MOST_ERRORS], f"and {len(lines) - _MOST_ERRORS} more"]
        count = len(self.found)
        raise CliError(
            f"{self.place} has {count} error{'s'[: count != 1]}:\n" + "\n".join(lines),
            remedy="docs/studies.md has all keys; `variegate methods` lists the methods.",
            reason="STUDY_FILE_INVALID",
        )


def root_of(text: str, errors: Errors) -> yaml.Node | None:
    """The root of a document. Raises CliError for what is no YAML, with the line."""
    if len(text) > _MOST_BYTES:
        raise CliError(
            f"{errors.place} has {len(text):,} characters; a study file has at most "
            f"{_MOST_BYTES:,}.",
            remedy="Is this the right file?",
            reason="STUDY_FILE_INVALID",
        )
    try:
        node: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        why = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise CliError(
            f"{errors.place}{line} is no YAML: {why}.",
            remedy="Correct that line; a tab or a missing space after a colon is the usual reason.",
            reason="STUDY_FILE_INVALID",
        ) from error
    return node


def nearest(name: str, known: Collection[str]) -> str:
    """What to say of an unknown name: the nearest known one, or all if they are few."""
    near = get_close_matches(name.lower(), sorted(known), n=1, cutoff=0.5)
    if near:
        return f" Did you mean {near[0]!r}?"
    return f" Known: {', '.join(sorted(known))}." if len(known) <= 20 else ""


def mapping(node: yaml.Node, errors: Errors, what: str) -> dict[str, tuple[yaml.Node, yaml.Node]]:
    """The entries of a mapping by key: (node of the key, node of the value)."""
    if not isinstance(node, yaml.MappingNode):
        errors.add(node, f"{what} must be keys with values, such as 'name: value'.")
        return {}
    found: dict[str, tuple[yaml.Node, yaml.Node]] = {}
    for key, value in node.value:
        _count(errors)
        name = str(key.value) if isinstance(key, yaml.ScalarNode) else ""
        if not name:
            errors.add(key, f"a key of {what} is no word.")
        elif name in found:
            first = found[name][0].start_mark.line + 1
            errors.add(key, f"{name!r} is given twice; the first is in line {first}.")
        else:
            found[name] = (key, value)
    return found


def fields(
    node: yaml.Node, errors: Errors, what: str, readers: Mapping[str, Callable[[yaml.Node], Any]]
) -> dict[str, Any]:
    """The values of the known keys of a mapping; those that are none of `readers` are errors."""
    values = {}
    for name, (key, value) in mapping(node, errors, what).items():
        if name in readers:
            read = readers[name](value)
            if read is not None:
                values[name] = read
        else:
            errors.add(key, f"{what} has no key {name!r}.{nearest(name, readers)}")
    return values


def items(node: yaml.Node, errors: Errors, what: str) -> list[yaml.Node]:
    """The entries of a list; a lone value is a list of one."""
    entries = list(node.value) if isinstance(node, yaml.SequenceNode) else [node]
    if not entries:
        errors.add(node, f"{what} is an empty list; leave it out, or name at least one.")
    for _ in entries:
        _count(errors)
    return entries


def text(node: yaml.Node, errors: Errors, what: str) -> str | None:
    """A text, as it is written: also a number or a date. None after an error."""
    if isinstance(node, yaml.ScalarNode) and str(node.value).strip():
        return str(node.value)
    errors.add(node, f"{what} must be a text.")
    return None


def number(
    node: yaml.Node, errors: Errors, what: str, kind: type[T], low: float, high: float
) -> T | None:
    """An int or a float in [low, high]. None after an error."""
    wanted = "a whole number" if kind is int else "a number"
    written = str(node.value).replace("_", "") if isinstance(node, yaml.ScalarNode) else ""
    try:
        value = kind(written)  # type: ignore[call-arg]
    except ValueError:
        value = None
    # A number that is none is in no range.
    if value is None or not low <= value <= high:  # type: ignore[operator]
        shown = f" and is {str(node.value)!r}" if isinstance(node, yaml.ScalarNode) else ""
        errors.add(node, f"{what} must be {wanted} from {low:,} to {high:,}{shown}.")
        return None
    return value


def flag(node: yaml.Node, errors: Errors, what: str) -> bool | None:
    """True or false. None after an error."""
    written = str(node.value).lower() if isinstance(node, yaml.ScalarNode) else ""
    if written in (*_TRUE, *_FALSE):
        return written in _TRUE
    errors.add(node, f"{what} must be true or false.")
    return None


def _count(errors: Errors) -> None:
    errors.value_count += 1
    if errors.value_count > _MOST_VALUES:
        raise CliError(
            f"{errors.place} stands for more than {_MOST_VALUES:,} values.",
            remedy="Use fewer aliases.",
            reason="STUDY_FILE_INVALID",
        )
