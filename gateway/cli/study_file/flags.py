"""A study file on the command line: which flags go with it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import typer

from gateway.cli.arguments import StudyArguments
from gateway.cli.failures import CliError
from gateway.cli.image_options import AddedRows
from gateway.cli.subset_options import OPTIONS
from gateway.cli.test_sets import TestSets

_GIVEN = ("COMMANDLINE", "ENVIRONMENT")
_SUFFIXES = {".yaml", ".yml"}
# Flags that say the same as a key of the file.
_IN_FILE = {
    "methods": "methods",
    "strategy": "strategies",
    "per_class": "per_class",
    "seeds": "seeds",
    **{name: f"protocol: {{{name}: {shown[0]}}}" for name, shown in OPTIONS.items()},
    "subset_seeds": "protocol: {subset_seeds: N}",
    "param": "methods: [{METHOD: {NAME: VALUE}}]",
    "classifier": "classifiers",
    "policy": "policies",
    "train_steps": "training: {steps: N}",
    "batch_size": "training: {batch_size: N}",
    "learning_rate": "training: {learning_rate: X}",
    "image_size": "training: {image_size: N}",
    "nodes": "training: {nodes: N}",
    "gpus_per_node": "training: {gpus_per_node: N}",
    "weights": "training: {weights: PLACE}",
    "freeze": "training: {freeze: true}",
    "schedule": "training: {schedule: plateau}",
    "choose": "training: {choose: best}",
    "deterministic": "deterministic",
    "check_safety": "check_safety",
    "refuse_leaks": "refuse_leaks",
    "demo": "data, test and pool",
    "full": "methods",
}


def is_study_file(source: str) -> bool:
    """Says whether an argument is a study file rather than images."""
    return Path(source).suffix.lower() in _SUFFIXES


def check_alone(context: typer.Context, file: Path) -> None:
    """Raises CliError for flags that say what the file says: two answers to one question."""
    said = [
        (name, key)
        for name, key in _IN_FILE.items()
        if (where := context.get_parameter_source(name)) and where.name in _GIVEN
    ]
    if said:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name, _ in said)
        keys = "; ".join(key for _, key in said)
        raise CliError(
            f"{flags} cannot be given beside the study file {file}, which says that itself.",
            remedy=f"Write it into the file: {keys}.",
        )


def check_folder_given(data: str | None, overrides: Sequence[str]) -> None:
    """Raises CliError for --data or --set without a study file."""
    if data:
        raise CliError(
            "--data is about a study file.",
            remedy="Give the folder itself: variegate study FOLDER.",
        )
    if overrides:
        raise CliError(
            "--set is about the keys of a study file.",
            remedy="Give the study file, or use the options themselves: variegate study --help.",
        )


def of_file(
    file: Path,
    data: str | None,
    test: str | None,
    pool: str | None,
    *,
    own: bool,
    test_sets: TestSets = (),
    overrides: Sequence[str] = (),
    added: AddedRows = (),
) -> StudyArguments:
    """Reads a study file, and checks its names if the system that does the work is this one."""
    from gateway.cli.root import own_methods
    from gateway.cli.study_file.names import Known
    from gateway.cli.study_file.schema import read_study

    known = Known(own_methods()) if own else None
    places = {"data": data or "", "test": test or "", "pool": pool or ""}
    args = read_study(file, known, **places, overrides=overrides)
    # Those that are given come before those of the file by the same names.
    args = replace(
        args,
        test_sets=tuple({**dict(args.test_sets), **dict(test_sets)}.items()),
        added=tuple({**dict(args.added), **dict(added)}.items()),
    )
    if not args.source:
        raise CliError(
            f"{file} names no images.",
            remedy="Add --data FOLDER (and --test DIR), or the key 'data' to the file.",
        )
    return args
