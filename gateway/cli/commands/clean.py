"""`variegate clean`: frees what no output needs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli import options
from gateway.cli.execute import CommandResult, settle
from servicekit.escaping import escaped

if TYPE_CHECKING:
    from rich.console import Console

    from gateway.cli.spare import Clearance

All = Annotated[
    bool,
    typer.Option(
        "--all",
        help="Also finished runs that were never written into a folder, and what only saves "
        "time: captions, embeddings, indexes.",
    ),
]
Yes = Annotated[
    bool,
    typer.Option("--yes", "-y", help="Delete without asking; needed where there is no terminal."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what is free and delete nothing.")]


def clean(
    everything: All = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    state: options.State = options.DEFAULT_STATE,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Free the space of what no output needs, in the state folder.

    Free is what was made for an output that is gone or was overwritten;
    half-written files, files of training, logs. Your outputs and images,
    unfinished runs and the results of training are kept.
    What is needed again is made again. For a store that services share, see
    `variegate gc`.

    $ variegate clean --dry-run
    """
    common = options.Common(state=state, json=json, debug=debug)
    settle(common, lambda: _clean(state, everything, dry_run, yes, json))


def _clean(state: Path, everything: bool, dry_run: bool, yes: bool, json: bool) -> CommandResult:
    from gateway.cli.failures import CliError
    from gateway.cli.running import held, is_state
    from gateway.cli.spare import clearance

    if not is_state(state):
        what = "is not a state folder" if state.exists() else "does not exist"
        raise CliError(
            f"{state} {what}.",
            exit_code=3,
            remedy="Name it with --state DIR or VARIEGATE_STATE.",
            reason="NO_STATE",
        )
    with held(state):
        found = clearance(state, everything=everything)
        deleted = False
        if found.files and not dry_run:
            if not yes:
                _ask(found, json)
            found.carry_out()
            deleted = True
    document = _document(found, deleted)
    shown = yes or dry_run or not found.files

    def render(console: "Console") -> None:
        if shown:
            _print(console, found)
        size = _bytes(document["bytes"])
        if deleted:
            console.print(f"[bold green]✓[/bold green] {size} freed")
        elif found.files:
            console.print(f"{size} can be freed; nothing was deleted")

    return CommandResult(document, render)


def _ask(found: "Clearance", json: bool) -> None:
    """Shows what is free and asks. Raises CliError without a terminal, or if the answer is no."""
    import sys

    from gateway.cli.failures import CliError
    from gateway.cli.terminal import console

    if json or not sys.stdin.isatty():
        raise CliError(
            f"{_bytes(sum(one.size for one in found.files))} can be freed, and there is no "
            "terminal to ask at.",
            remedy="Add --yes to delete, or --dry-run to see what is free.",
            reason="NOT_AGREED",
        )
    _print(console(stderr=True), found)
    if not typer.confirm("Delete these files?", err=True):
        raise CliError("Nothing was deleted.", exit_code=1, reason="NOT_AGREED")


def _document(found: "Clearance", deleted: bool) -> dict[str, Any]:
    return {
        "state": str(found.state),
        "deleted": deleted,
        "kinds": {
            kind: {"file_count": count, "bytes": size} for kind, (count, size) in _kinds(found)
        },
        "file_count": len(found.files),
        "bytes": sum(one.size for one in found.files),
        "free": list(found.free),
        "gone_outputs": sorted({one.out for one in found.gone}),
        "kept_count": found.kept_count,
        "unfinished_count": found.unfinished_count,
    }


def _kinds(found: "Clearance") -> list[tuple[str, tuple[int, int]]]:
    kinds: dict[str, tuple[int, int]] = {}
    for one in found.files:
        count, size = kinds.get(one.kind, (0, 0))
        kinds[one.kind] = (count + 1, size + one.size)
    return sorted(kinds.items(), key=lambda entry: -entry[1][1])


def _print(console: "Console", found: "Clearance") -> None:
    from gateway.cli.tables import table

    if not found.files:
        console.print(f"nothing to free in {escaped(str(found.state))}", markup=False)
        return
    shown = table("free", "files", "size", right=("files", "size"))
    for kind, (count, size) in _kinds(found):
        shown.add_row(kind, f"{count:,}", _bytes(size))
    console.print(shown)
    for out in sorted({one.out for one in found.gone}):
        console.print(f"  {escaped(out)} is gone, or holds the output of another run", markup=False)
    if found.unfinished_count:
        console.print(
            f"  kept: {found.unfinished_count} unfinished, with everything that they may have made"
        )


def _bytes(size: int) -> str:
    from rich.filesize import decimal

    return decimal(size)
