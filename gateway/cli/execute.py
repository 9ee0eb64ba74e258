"""Runs a command's work and turns its end, good or bad, into output and exit code."""

import signal
import sys
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import typer

from gateway.cli.failures import CliError
from gateway.cli.interrupts import Ending, interruptible, run
from gateway.cli.options import Common
from gateway.cli.terminal import console
from servicekit.escaping import escaped, json_text

if TYPE_CHECKING:
    from rich.console import Console

    from gateway.cli.session import Session

T = TypeVar("T")


@dataclass(frozen=True)
class CommandResult:
    """What a command answers: `document` with --json, else what `render` prints."""

    document: dict[str, Any]
    render: "Callable[[Console], None]"
    exit_code: int = 0


KEPT = "What is finished is kept. Run the same command again to go on."
GOES_ON = "The work goes on in the system. `variegate cancel NAME` stops it."


def execute(
    common: Common,
    work: "Callable[[Session], Awaitable[CommandResult]]",
    *,
    roots: tuple[Path, ...] = (),
    start: bool = True,
) -> None:
    """Connects, runs `work` with progress on stderr, prints the outcome, exits with its code.

    `roots` are the folders that an embedded system may import from; with `start` false none is
    started.
    """
    interrupted = GOES_ON if common.gateway else KEPT
    settle(common, lambda: run(_run(common, work, roots, start)), interrupted)


def settle(
    common: Common, work: Callable[[], CommandResult], interrupted: str | CommandResult = ""
) -> NoReturn:
    """Runs `work` and exits: the one place that prints outcomes and errors.

    An interruption ends it with an error whose remedy is `interrupted`, or with that outcome.
    """

    def conclude(number: signal.Signals) -> int:
        if isinstance(interrupted, CommandResult):
            return _show(common, interrupted)
        return _say(common, _interruption(number, interrupted))

    ending = Ending(conclude)
    try:
        with interruptible(ending):
            code = _show(common, work())
    except KeyboardInterrupt:
        ending.exit()
    except BrokenPipeError:
        raise
    except Exception as error:  # whatever it is, people get a sentence and not a trace
        code = failed(common, error)
    raise typer.Exit(code)


def _show(common: Common, outcome: CommandResult) -> int:
    if common.json:
        print(json_text(outcome.document), flush=True)
    else:
        outcome.render(console())
    return outcome.exit_code


def _interruption(number: signal.Signals, remedy: str) -> CliError:
    message = "Interrupted." if number is signal.SIGINT else "Terminated."
    return CliError(message, exit_code=128 + number, remedy=remedy, reason="INTERRUPTED")


def checked(common: Common, work: Callable[[], T]) -> T:
    """Runs the checks of a command that need no system; a failed one ends it like any other."""
    try:
        return work()
    except Exception as error:
        raise typer.Exit(failed(common, error)) from error


async def _run(
    common: Common,
    work: "Callable[[Session], Awaitable[CommandResult]]",
    roots: tuple[Path, ...],
    start: bool,
) -> CommandResult:
    from gateway.cli.connect import connected
    from gateway.cli.operations import tell_what_goes_on
    from gateway.cli.progress import view
    from gateway.cli.session import open_session

    with view() as shown:
        async with connected(common, roots, shown.say, start=start) as connection:
            session = open_session(connection, shown)
            try:
                if connection.is_own:
                    await tell_what_goes_on(session)
                return await work(session)
            finally:
                await session.channel.close()


def _translate(error: Exception) -> CliError:
    from gateway.cli.remedies import remedy_of, with_options
    from servicekit.errors import ServiceError
    from servicekit.settings import SettingsError

    if isinstance(error, SettingsError):
        failure = CliError(_sentence(str(error)), reason="BAD_SETTING")
    elif isinstance(error, ServiceError):
        message = with_options(error.message)
        if message.partition(" ")[0].isalpha():  # It may begin with a URI or a name.
            message = message[:1].upper() + message[1:]
        failure = CliError(
            _sentence(message),
            exit_code=error.exit_code,
            remedy=remedy_of(error),
            reason=error.reason,
        )
    elif isinstance(error, OSError) and error.strerror:
        failure = _of_disk(error)
    else:
        failure = CliError(
            f"{type(error).__name__}: {error}",
            exit_code=1,
            remedy="This should not happen. Run again with --debug for the trace.",
            reason="INTERNAL",
        )
    failure.__cause__ = error
    return failure


def _of_disk(error: OSError) -> CliError:
    try:
        Path.cwd()
    except OSError:
        return CliError(
            "The current folder no longer exists.",
            exit_code=3,
            remedy="Change to one that does, and run the command again.",
            reason="NO_CURRENT_FOLDER",
        )
    place = f": {error.filename}" if error.filename else ""
    return CliError(
        f"{error.strerror}{place}.",
        exit_code=1,
        remedy="What is finished is kept. Fix that, and run the same command again.",
        reason="DISK",
    )


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def failed(common: Common, error: Exception) -> int:
    """Prints what went wrong as a sentence, whatever it is, and returns the exit code."""
    return _say(common, error if isinstance(error, CliError) else _translate(error))


def _say(common: Common, error: CliError) -> int:
    if common.debug and error.__cause__ is not None:
        traceback.print_exception(error.__cause__, file=sys.stderr)
    if not (common.json and _say_json(error)):
        terminal = console(stderr=True)
        terminal.print("error:", style="bold red", end=" ")
        terminal.print(escaped(error.message, lines=True), markup=False, soft_wrap=True)
        if error.remedy:
            terminal.print(
                escaped(error.remedy, lines=True), markup=False, soft_wrap=True, style="dim"
            )
    return error.exit_code


def _say_json(error: CliError) -> bool:
    """Prints the error as a document. False if stdout takes none: its disk may be what is full."""
    facts = {"exit_code": error.exit_code, "reason": error.reason, "message": error.message}
    try:
        print(json_text({"error": {**facts, "remedy": error.remedy}}), flush=True)
    except BrokenPipeError:
        raise
    except OSError:
        return False
    return True
