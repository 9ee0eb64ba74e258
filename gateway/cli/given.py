"""The command line that was given, for who wants to give it again."""

import shlex
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import typer
from typer.core import TyperOption

_GIVEN = ("COMMANDLINE", "ENVIRONMENT")
# They say how a command goes about its work and what it prints, not what comes of it.
_PASSING = {"json", "debug", "resume", "overwrite", "yes", "track"}


def command_of(context: typer.Context) -> str:
    """The command line of a command, quoted for a shell.

    What variables of the environment gave is in it as well; what was left out is not.
    """
    options: list[str] = []
    places: list[str] = []
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        if name in _PASSING or source is None or source.name not in _GIVEN:
            continue
        if isinstance(parameter, TyperOption):
            options += _words(parameter, context.params[name])
        else:
            places.append(str(context.params[name]))
    apart = ["--"] if any(place.startswith("-") for place in places) else []
    words = ["variegate", context.command.name or ""]
    words += [*options, *apart, *places] if apart else [*places, *options]
    return shlex.join(words)


def _words(option: TyperOption, value: Any) -> Iterator[str]:
    if isinstance(value, bool):
        yield (option.opts if value else option.secondary_opts)[0]
        return
    for one in value if isinstance(value, list | tuple) else [value]:
        yield from (option.opts[0], str(one))


def with_command(summary: str, command: str, *, has_file: bool) -> str:
    """The text of a STUDY.md with the command line that asked for the study.

    Only this side knows it: the gateway was sent the request that came of it.
    """
    said = f"The command line, with variegate {version('variegate')}"
    said += "; `study.yaml` beside this is the study file:" if has_file else ":"
    lines = f"\n{said}\n\n```console\n{command}\n```\n"
    head, heading, rest = summary.partition("## How to repeat it\n")
    if not heading:  # A gateway of another version may call it otherwise.
        head, heading, rest = f"{summary}\n", "## How to repeat it\n", ""
    return f"{head}{heading}{lines}{rest}"
