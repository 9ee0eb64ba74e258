"""--set KEY=VALUE: other values of single keys of a study file, for this run."""

from collections.abc import Sequence

import yaml

from gateway.cli.failures import CliError

_REMEDY = "Write --set KEY=VALUE, with a dot below a key: --set seeds=1 --set training.steps=20."


def set_keys(root: yaml.Node, overrides: Sequence[str]) -> None:
    """Puts the values in place of those that the file has, or beside them.

    Values are YAML. What is wrong with one is told as of any other, with the --set as its place.
    Raises CliError for what is no KEY=VALUE.
    """
    for text in overrides:
        key, equals, written = text.partition("=")
        names = [name.strip() for name in key.split(".")]
        if not equals or not all(names):
            raise CliError(f"--set {text!r} is no KEY=VALUE.", remedy=_REMEDY)
        _set(root, names, _node(text, written), text)


def _node(text: str, written: str) -> yaml.Node:
    loader = yaml.SafeLoader(written)
    loader.name = place_of(text)
    try:
        node = loader.get_single_node()
    except yaml.YAMLError as error:
        raise CliError(f"--set {text}: the value is no YAML.", remedy=_REMEDY) from error
    finally:
        loader.dispose()  # type: ignore[no-untyped-call]
    if node is None:
        raise CliError(f"--set {text} has no value.", remedy=_REMEDY)
    return node


def place_of(text: str) -> str:
    """What errors say instead of file and line."""
    return f"--set {text}"


def _set(node: yaml.Node, names: Sequence[str], value: yaml.Node, text: str) -> None:
    for name in names[:-1]:
        below = _value(node, name)
        if below is None:
            below = yaml.MappingNode("tag:yaml.org,2002:map", [], value.start_mark, value.end_mark)
            _put(node, name, below, text)
        node = below
    _put(node, names[-1], value, text)


def _value(node: yaml.Node, name: str) -> yaml.Node | None:
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return next((value for key, value in pairs if key.value == name), None)


def _put(node: yaml.Node, name: str, value: yaml.Node, text: str) -> None:
    if not isinstance(node, yaml.MappingNode):
        raise CliError(
            f"--set {text}: there are no keys to set; only keys of the file, and keys below them, "
            "can be.",
            remedy=_REMEDY,
        )
    key = yaml.ScalarNode("tag:yaml.org,2002:str", name, value.start_mark, value.end_mark)
    places = [at for at, (one, _) in enumerate(node.value) if one.value == name]
    for at in places:
        node.value[at] = (node.value[at][0], value)
    if not places:
        node.value.append((key, value))
