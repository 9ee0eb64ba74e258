"""What `--help` prints: what a command is for, examples, and every option with what it may be.

In lines of at most 80 columns, or of the terminal's if it is narrower: a word is never broken, and
an example stays a command that can be copied.
"""

import os
from collections.abc import Iterator
from typing import Any, get_args

import typer
from typer.core import TyperOption

from servicekit import layout

EXIT_CODES = {
    0: "done",
    1: "failed",
    2: "wrong usage or argument",
    3: "something is missing, exists already or is in use",
    4: "the system cannot be reached or is busy",
    5: "done, but some classes fell short, or some files could not be reached",
    130: "interrupted",
    143: "terminated",
}
_OPTIONS = "Options"


def help_of(command: Any, ctx: Any) -> str:
    """Returns the help of a command, or of all of them together."""
    usage = layout.wrapped(" ".join(["Usage:", ctx.command_path, *_pieces(command, ctx)]))
    parts = [usage.replace("Usage:", _heading("Usage"), 1), *_description(command.help)]
    arguments, panels = [], {_OPTIONS: list[tuple[str, str]]()}
    for parameter in command.get_params(ctx):
        if getattr(parameter, "hidden", False):
            continue
        if isinstance(parameter, TyperOption):
            panel = parameter.rich_help_panel or _OPTIONS
            panels.setdefault(panel, []).append((_term(parameter), _text(parameter)))
        else:
            arguments.append((name_of(parameter), parameter.help or ""))
    named = getattr(command, "commands", {}).items()
    parts += _section("Commands", ((name, one.help.split("\n\n")[0]) for name, one in named))
    parts += _section("Arguments", arguments)
    for panel, pairs in panels.items():
        parts += _section(panel, pairs)
    codes = ((str(code), meaning) for code, meaning in EXIT_CODES.items())
    return "\n\n".join([*parts, *_section("Exit codes", codes)])


def _pieces(command: Any, ctx: Any) -> Iterator[str]:
    parameters = command.get_params(ctx)
    if any(isinstance(parameter, TyperOption) for parameter in parameters):
        yield "[OPTIONS]"
    for parameter in parameters:
        if not isinstance(parameter, TyperOption):
            yield name_of(parameter)
    if hasattr(command, "commands"):
        yield "COMMAND ..."


def _description(text: str) -> Iterator[str]:
    """The paragraphs of a docstring, where lines that begin with "$ " are examples."""
    examples = []
    for paragraph in text.split("\n\n"):
        if paragraph.startswith("$ "):
            lines = paragraph.splitlines()
            examples += [layout.command(line.removeprefix("$ ")) for line in lines]
        else:
            yield layout.wrapped(" ".join(paragraph.split()))
    if examples:
        heading = _heading("Example" if len(examples) == 1 else "Examples")
        yield "\n".join([heading, *examples])


def _section(title: str, pairs: Any) -> list[str]:
    listed = list(pairs)
    return [f"{_heading(title)}\n{layout.entries(listed)}"] if listed else []


def _heading(title: str) -> str:
    """The title in bold; the terminal's colours are taken off again where there is no terminal."""
    is_plain = os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") == "dumb"
    return f"{title}:" if is_plain else typer.style(f"{title}:", bold=True)


def name_of(argument: Any) -> str:
    """Returns what an argument is called, for example FOLDER."""
    return str(argument.metavar or argument.name.upper())


def _term(option: TyperOption) -> str:
    names = ", ".join([*sorted(option.opts, key=len), *option.secondary_opts])
    return names if option.is_flag else f"{names} {option.metavar or '|'.join(_choices(option))}"


def _choices(option: TyperOption) -> tuple[str, ...]:
    return get_args(option.type_descriptor.annotation)


def _text(option: TyperOption) -> str:
    """What the option means, then in brackets what it may be and what it is if not given."""
    facts = [_range(option), _default(option), f"or {option.envvar}" if option.envvar else ""]
    told = "; ".join(fact for fact in facts if fact)
    return f"{option.help or ''} {f'[{told}]' if told else ''}".rstrip()


def _range(option: TyperOption) -> str:
    least, most = option.min, option.max
    if least is None and most is None:
        return ""
    if most is None:
        return f"at least {least:g}"
    return f"{least:g} to {most if isinstance(most, int) else f'{most:g}'}"


def _default(option: TyperOption) -> str:
    """The default in words; "" where there is none, or where the text says it."""
    if isinstance(option.show_default, str):
        return f"default: {option.show_default}"
    if option.is_flag:
        names = option.opts if option.default else option.secondary_opts
        return f"default: {names[0]}" if option.secondary_opts else ""
    return "" if option.default in (None, "", ()) else f"default: {option.default}"
