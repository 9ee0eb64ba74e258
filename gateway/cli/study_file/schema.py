"""The keys of a study file and what they mean: from YAML to the arguments that flags are, too."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from gateway.cli.arguments import Expected, StudyArguments, TrainingRecipe
from gateway.cli.failures import CliError
from gateway.cli.image_options import KEYS, USUAL, ImageOptions
from gateway.cli.initial_weights import weights_of
from gateway.cli.known import parameters_in
from gateway.cli.recipes import may_have_validation
from gateway.cli.study_file.images import ImageKeys
from gateway.cli.study_file.names import Entry, Known, method_of, name_of
from gateway.cli.study_file.nodes import (
    Errors,
    fields,
    flag,
    items,
    mapping,
    number,
    root_of,
    text,
)
from gateway.cli.study_file.overrides import set_keys
from gateway.cli.study_file.protocol import Protocol, protocol_of
from gateway.cli.study_file.training import budget_of, check_together, training_of
from gateway.cli.test_sets import MOST, NAME, NAME_RULE

_MOST_IMAGES = 1_000_000


def read_study(
    path: Path,
    known: Known | None,
    *,
    data: str = "",
    test: str = "",
    pool: str = "",
    overrides: Sequence[str] = (),
) -> StudyArguments:
    """Reads a study file. Places in it are relative to its folder; arguments come before them, and
    `overrides`, KEY=VALUE, before keys.

    Raises CliError with every error of the file, each with its line. Without `known` names are
    taken as they are, to be checked against the system that does the work.
    """
    try:
        content = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise CliError(
            f"The study file {path} cannot be read: {why}.",
            exit_code=3,
            remedy="Give a YAML file; docs/studies.md has an example.",
            reason="STUDY_FILE_MISSING",
        ) from error
    errors = Errors(str(path))
    root = root_of(content, errors)
    if root is None:
        raise CliError(
            f"{path} is empty.", remedy="docs/studies.md has an example.", reason="USAGE"
        )
    set_keys(root, overrides)
    images = ImageKeys(path.parent, errors)
    values = fields(root, errors, "a study file", _readers(errors, known, images))
    if any(one.choices for one in values.get("methods", [])):
        _check_selected(root, values, errors, data=data)
        entries = enumerate(values["methods"])
        values["methods"] = [one for at, entry in entries for one in entry.candidates(at)]
    values["options"] = _options(root, values, images)
    if isinstance(root, yaml.MappingNode) and not values.get("methods") and not errors.found:
        errors.add(root, "a study file needs the key 'methods', with at least one.")
    if "ratios" in values and "per_class" in values:
        errors.add(root, "'ratios' and 'per_class' both say how many images are added; keep one.")
    if "strength" in values and known is not None:
        _check_strength(root, values, known, errors)
    training = dict(values.get("training", {}))
    check_together(root, values, errors, data=data)
    draws, seeds = values.get("protocol", Protocol()).subset_seeds, values.get("seeds")
    if draws and seeds and len(draws) != len(seeds):
        key = next(key for key, _ in root.value if key.value == "seeds")
        errors.add(
            key, f"there are {len(seeds)} seeds for {len(draws)} subset_seeds; give as many."
        )
    errors.raise_any()
    args = _arguments_of(path, values, training, data=data, test=test, pool=pool)
    return replace(args, overrides=tuple(overrides))


def _check_strength(root: yaml.Node, values: dict[str, Any], known: Known, errors: Errors) -> None:
    """Notes the key 'strength' as an error if no method of the file starts from an image."""
    having = {one.id for one in known.methods if "strength" in parameters_in([one])}
    mixes = [one.name.split(",") for one in values.get("methods", [])]
    parts = [part.partition(":")[0].strip() for mix in mixes for part in mix]
    if not having & {*parts}:
        key = next(key for key, _ in root.value if key.value == "strength")
        errors.add(key, "no method of the file starts from an image, so none has a strength.")


def _check_selected(root: yaml.Node, values: dict[str, Any], errors: Errors, *, data: str) -> None:
    """Notes as an error that there is nothing to select by. `data` comes before the file's own."""
    source = data or str(values.get("data", ""))
    if not may_have_validation(source, values.get("protocol", Protocol()).subset.validation):
        node = next(one.node for one in values["methods"] if one.choices)
        errors.add(
            node or root,
            "'select' goes by the accuracy on validation images, and there are none; add "
            "'protocol: {validation: 0.2}'.",
        )


def _selections(entries: Sequence[Entry]) -> tuple[str, ...]:
    found = tuple(one.selection for one in entries)
    return found if any(found) else ()


def _options(
    root: yaml.Node, values: dict[str, Any], images: ImageKeys
) -> tuple[ImageOptions, ...]:
    """How the images of each method are made; none if all are made as usual."""
    of_all = images.read({key: values[key] for key in KEYS if key in values})
    checked = bool(values.get("check_safety"))
    found = tuple(
        images.options(one.node or root, one.images, of_all, is_checked=checked)
        for one in values.get("methods", [])
    )
    return found if any(one != USUAL for one in found) else ()


def _place(path: Path, written: str) -> str:
    """A place of the file at `path`: relative to its folder, or a URI as it is."""
    is_uri = ":" in written.partition("/")[0]
    return written if is_uri else str(path.parent / Path(written).expanduser())


def _arguments_of(
    path: Path, values: dict[str, Any], training: dict[str, Any], *, data: str, test: str, pool: str
) -> StudyArguments:
    def place(name: str, given: str) -> str:
        written = str(values.get(name, ""))
        return given or (written and _place(path, written))

    protocol = values.get("protocol", Protocol())
    if "weights" in training:
        training["weights"] = weights_of(_place(path, training["weights"]))
    return StudyArguments(
        source=place("data", data),
        test=place("test", test),
        pool=place("pool", pool) or None,
        subset=protocol.subset,
        subset_seeds=protocol.subset_seeds,
        methods=tuple((one.name, dict(one.parameters)) for one in values["methods"]),
        images=values["options"],
        selections=_selections(values["methods"]),
        parameters={"strength": f"{values['strength']:g}"} if "strength" in values else {},
        added=values.get("synthetic", ()),
        strategies=tuple(values.get("strategies", ["combined"])),
        policies=tuple(values.get("policies", [""])),
        classifiers=tuple(values.get("classifiers", [""])),
        per_class=tuple(values.get("per_class", [])),
        ratios=tuple(values.get("ratios", [] if "per_class" in values else [1.0])),
        seeds=tuple(values.get("seeds", range(len(protocol.subset_seeds) or 3))),
        training=TrainingRecipe(**training),
        budget=values.get("budget", "steps"),
        deterministic=values.get("deterministic", False),
        check_safety=values.get("check_safety", False),
        name=values.get("name", path.stem),
        refuse_leaks=values.get("refuse_leaks", False),
        expected=values.get("expect"),
        file=str(path),
        test_sets=tuple((name, _place(path, one)) for name, one in values.get("tests", {}).items()),
    )


def _readers(
    errors: Errors, known: Known | None, images: ImageKeys
) -> dict[str, Callable[[yaml.Node], Any]]:
    def each(read: Callable[[yaml.Node], Any], what: str) -> Callable[[yaml.Node], list[Any]]:
        def list_of(node: yaml.Node) -> list[Any]:
            found = []
            for entry in items(node, errors, what):
                if (value := read(entry)) is None:
                    continue
                if value in found:
                    errors.add(entry, f"{what} has {value!r} twice.")
                else:
                    found.append(value)
            return found

        return list_of

    def named(kind: str) -> Callable[[yaml.Node], Any]:
        return lambda node: name_of(node, errors, kind, known)

    def a_text(what: str) -> Callable[[yaml.Node], Any]:
        return lambda node: text(node, errors, what)

    def a_flag(what: str) -> Callable[[yaml.Node], Any]:
        return lambda node: flag(node, errors, what)

    count = partial(_whole, errors=errors, low=1, high=_MOST_IMAGES)
    texts = ("name", "about", "source", "data", "test", "pool")
    return {
        **{what: a_text(what) for what in texts},
        "tests": lambda node: _tests(node, errors),
        "expect": lambda node: _expected(node, errors),
        "protocol": lambda node: protocol_of(node, errors, images.folder),
        "methods": each(lambda node: method_of(node, errors, known, images.read), "methods"),
        **{key: lambda node: node for key in KEYS},
        "strength": lambda node: number(node, errors, "strength", float, 0, 1),
        "synthetic": images.added,
        "strategies": each(named("strategy"), "strategies"),
        "policies": each(named("policy"), "policies"),
        "classifiers": each(named("classifier"), "classifiers"),
        "ratios": each(lambda node: number(node, errors, "a ratio", float, 0.01, 1000), "ratios"),
        "per_class": each(lambda node: count(node, what="per_class"), "per_class"),
        "seeds": lambda node: _seeds(node, errors),
        "training": lambda node: training_of(node, errors),
        "budget": lambda node: budget_of(node, errors),
        **{what: a_flag(what) for what in ("deterministic", "check_safety", "refuse_leaks")},
    }


def _whole(node: yaml.Node, *, errors: Errors, low: int, high: int, what: str) -> int | None:
    return number(node, errors, what, int, low, high)


def _seeds(node: yaml.Node, errors: Errors) -> list[int] | None:
    """A number of seeds, or a list of them."""
    if not isinstance(node, yaml.SequenceNode):
        how_many = number(node, errors, "seeds", int, 1, 100)
        return None if how_many is None else list(range(how_many))
    found = [number(one, errors, "a seed", int, 0, 2**63 - 1) for one in node.value]
    if not 1 <= len(found) <= 100 or len(set(found)) != len(found):
        errors.add(node, "seeds must be 1 to 100 different numbers, or how many there are.")
    return [seed for seed in found if seed is not None]


def _tests(node: yaml.Node, errors: Errors) -> dict[str, str]:
    """The places of further test sets by name."""
    found = {}
    for name, (key, value) in mapping(node, errors, "tests").items():
        if not NAME.fullmatch(name):
            errors.add(key, f"a test set cannot be called {name!r}; {NAME_RULE}.")
        found[name] = text(value, errors, f"tests.{name}") or ""
    if len(found) > MOST:
        errors.add(node, f"tests has {len(found)} test sets, and {MOST} at most.")
    return found


def _expected(node: yaml.Node, errors: Errors) -> Expected | None:
    whole = partial(_whole, errors=errors)
    readers: dict[str, Callable[[yaml.Node], Any]] = {
        "classes": partial(whole, low=1, high=100_000, what="classes"),
        "images": partial(whole, low=1, high=10**9, what="images"),
    }
    values = fields(node, errors, "expect", readers)
    if len(values) < len(readers):
        errors.add(node, "expect needs both: {classes: N, images: N}, of the training images.")
        return None
    return Expected(**values)
