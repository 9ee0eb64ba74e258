"""Every `--help`: true, complete, and readable on any terminal."""

import re
import shlex
import subprocess
import sys
from typing import get_args

import pytest
import typer
from command_line import ROOT

from gateway.cli import recipes
from gateway.cli.main import app
from gateway.export import format_ids
from gateway.methods.registry import all_methods
from servicekit.places import SERVICES

PROGRAM = typer.main.get_command(app)
COMMANDS = [[], *([name] for name in PROGRAM.commands), *(["serve", name] for name in SERVICES)]
SHOWN = pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words) or "all")


@pytest.fixture
def shown(variegate, monkeypatch):
    """What `--help` of a command prints on a terminal of a width."""

    def show(words: list[str], columns: int = 80) -> str:
        monkeypatch.setenv("COLUMNS", str(columns))
        answer = variegate(*words, "--help")
        assert answer.code == 0 and not answer.err
        return answer.out

    return show


def options_of(name):
    options = [one for one in PROGRAM.commands[name].params if one.param_type_name == "option"]
    return [one for one in options if not one.hidden]


def entry(text: str, flag: str) -> str:
    """What the help says of an option, in one line."""
    lines = text.splitlines()
    names = re.compile(rf"  (-\w, )?{flag}\b(?!-)")
    [first] = [number for number, line in enumerate(lines) if names.match(line)]
    rest = lines[first + 1 :]
    length = next((n for n, line in enumerate(rest) if not line.startswith("    ")), len(rest))
    return " ".join(" ".join(lines[first : first + 1 + length]).split())


@SHOWN
@pytest.mark.parametrize("columns", [40, 80, 200])
def test_no_line_is_too_long_and_no_word_is_broken(shown, words, columns):
    text, wide = shown(words, columns), shown(words, 200)
    for line in text.splitlines():
        # A path or an option that is longer than a line stays whole.
        assert len(line) <= min(columns, 80) or len(line.split()) <= 2, line
    assert sorted(set(text.split()) - {"\\"}) == sorted(set(wide.split()) - {"\\"})


@SHOWN
def test_every_help_shows_usage_and_an_example(shown, words):
    text = shown(words)
    assert text.startswith(" ".join(["Usage: variegate", *words]))
    assert "\nExample" in text


@pytest.mark.parametrize("name", PROGRAM.commands)
def test_every_option_has_a_meaning_its_default_and_its_choices(shown, name):
    text = shown([name])
    for option in options_of(name):
        said = entry(text, option.opts[0])
        assert option.help and option.help.split()[0] in said
        if not option.is_flag:
            kind = option.metavar or "|".join(get_args(option.type_descriptor.annotation))
            assert kind and f"{option.opts[0]} {kind} " in said, said
        if option.default not in (None, "", False):
            assert "default: " in said, said
        if option.min is not None:
            assert f"[{option.min:g} to " in said or f"[at least {option.min:g}" in said


@pytest.mark.parametrize("name", PROGRAM.commands)
def test_every_example_is_a_command_that_the_parser_takes(shown, name):
    text = shown([name]).replace(" \\\n    ", " ")
    examples = text.split("\nExample")[1].split("\n\n")[0].splitlines()[1:]
    assert examples
    for line in examples:
        program, command, *words = shlex.split(re.sub(r"^\s*[A-Z_]+=\S+", "", line))
        assert program == "variegate"
        PROGRAM.commands[command].make_context(command, words)


def test_what_help_lists_is_what_there_is(shown):
    assert set(recipes.METHODS) == set(all_methods())
    assert all(name in shown(["study"]) for name in all_methods())
    assert f"--format {'|'.join(sorted(format_ids()))}" in shown(["augment"])


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_shows_its_settings_without_the_command_line_too(shown, service):
    command = [sys.executable, "-m", service, "--help"]
    own = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=ROOT, timeout=60
    ).stdout  # fmt: skip
    assert own == shown(["serve", service])
    assert f"  {service.upper()}_" in own and "default: " in own
