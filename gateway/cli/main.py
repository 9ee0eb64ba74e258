"""The command `variegate`: registers the commands and turns wrong usage into exit code 2."""

import io
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from difflib import get_close_matches
from importlib.metadata import version
from typing import Annotated

import typer

from gateway.cli.commands.augment import augment
from gateway.cli.commands.cancel import cancel
from gateway.cli.commands.clean import clean
from gateway.cli.commands.doctor import doctor
from gateway.cli.commands.fetch import fetch
from gateway.cli.commands.gc import gc
from gateway.cli.commands.import_ import import_
from gateway.cli.commands.merge import merge
from gateway.cli.commands.methods import methods
from gateway.cli.commands.review import review
from gateway.cli.commands.serve import CONTEXT as SERVE_CONTEXT
from gateway.cli.commands.serve import serve
from gateway.cli.commands.status import status
from gateway.cli.commands.study import study
from gateway.cli.commands.token import token
from gateway.cli.commands.train import train
from gateway.cli.commands.up import up
from gateway.cli.execute import failed
from gateway.cli.failures import CliError
from gateway.cli.options import Common
from gateway.cli.parsing import Command, Group
from gateway.cli.variables import check_variables
from servicekit.escaping import escaped, json_text

HELP = """Make a small labelled image set larger and better, and measure what helped.

`variegate COMMAND --help` explains a command and its options.

$ variegate study --demo
$ variegate augment ./my-images --per-class 100 --out ./augmented
$ variegate train ./my-images --test ./my-test-images --synthetic ./augmented"""

_COMMANDS: dict[str, Callable[..., None]] = {
    "augment": augment,
    "train": train,
    "study": study,
    "review": review,
    "merge": merge,
    "methods": methods,
    "import": import_,
    "fetch": fetch,
    "up": up,
    "serve": serve,
    "status": status,
    "cancel": cancel,
    "clean": clean,
    "gc": gc,
    "token": token,
    "doctor": doctor,
}

app = typer.Typer(
    cls=Group,
    help=HELP,
    # No markup: what is in brackets is text.
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _name, _command in _COMMANDS.items():
    _context = SERVE_CONTEXT if _command is serve else None
    app.command(_name, cls=Command, context_settings=_context)(_command)


def _show_version(asked: bool) -> None:
    if asked:
        print(f"variegate {version('variegate')}")
        raise typer.Exit


@app.callback(help=HELP)
def _options(
    shows_version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Options that belong to no command."""


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and exits."""
    arguments = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        # What the terminal's encoding does not have is spelled, and no reason to fail.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if not arguments:
        with redirect_stdout(sys.stderr):
            app(["--help"], prog_name="variegate", standalone_mode=False)
        sys.exit(2)
    try:
        check_variables(os.environ)
        code = app(arguments, prog_name="variegate", standalone_mode=False)
    except CliError as error:
        code = _told(error.message, error.remedy, arguments)
    except typer.Abort:
        code = 130
    except typer.TyperException as error:
        code = _misused(error, arguments)
    except BrokenPipeError:  # the reader of our output left, as `head` does
        code = 1
    except Exception as error:
        common = Common(json="--json" in arguments, debug="--debug" in arguments)
        code = failed(common, error)
    sys.exit(_written(code if isinstance(code, int) else 0))


def _written(code: int) -> int:
    """Returns the exit code, or 1 for 0 if not all output could be written, as to a full disk."""
    try:
        if sys.stdout:  # None if it was closed.
            sys.stdout.flush()
    except OSError:
        # What is left would be tried again at the end of the process, and fail with a trace.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return code or 1
    return code


def _misused(error: typer.TyperException, arguments: list[str]) -> int:
    """Prints wrong usage as one sentence and what to do."""
    words = getattr(error, "format_message", lambda: str(error))
    message = str(words()).replace("Value error, ", "")
    given = arguments[0] if arguments else ""
    near = get_close_matches(given, _COMMANDS, n=1)
    command = given if given in _COMMANDS else ""
    remedy = f"See `variegate {command} --help`." if command else "See `variegate --help`."
    if not command and near and "Did you mean" not in message:
        message += f" Did you mean {near[0]!r}?"
    return _told(message, remedy, arguments)


def _told(message: str, remedy: str, arguments: list[str]) -> int:
    if "--json" in arguments:
        facts = {"exit_code": 2, "reason": "USAGE", "message": message, "remedy": remedy}
        print(json_text({"error": facts}))
    else:
        told = escaped(f"error: {message}\n{remedy}".rstrip(), lines=True)
        print(told, file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
