"""`variegate review`: a local page on which a person accepts and rejects what was made."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli import options
from gateway.cli.execute import CommandResult, settle
from gateway.cli.failures import CliError
from gateway.cli.inputs import manifest_of
from gateway.cli.terminal import console as terminal
from servicekit.escaping import escaped

if TYPE_CHECKING:
    from rich.console import Console

    from gateway.cli.review.server import ReviewServer

Folder = Annotated[
    Path,
    typer.Argument(
        metavar="FOLDER", help="An output of `variegate augment` or `merge`.", show_default=False
    ),
]
Originals = Annotated[
    Path | None,
    typer.Option(
        "--images",
        metavar="DIR",
        help="The images that it was made from, to show parents; by default where they were then.",
        show_default=False,
    ),
]
Port = Annotated[
    int,
    typer.Option(metavar="PORT", min=0, max=65535, help="Port of 127.0.0.1; 0 takes a free one."),
]


def review(
    folder: Folder,
    images: Originals = None,
    port: Port = 0,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Accept and reject images on a local page, until it is finished or Ctrl-C.

    Each decision is written at once, into review.jsonl beside the manifest.
    Rejected images are left out by train, study and merge, and replaced
    when the augment command of the output is given again.

    $ variegate review ./augmented
    """
    common = options.Common(json=json, debug=debug)
    document: dict[str, Any] = {"folder": str(folder)}
    ended = CommandResult(document, lambda console: _print(console, document))
    settle(common, lambda: _review(folder, images, port, ended), ended)


def _review(folder: Path, images: Path | None, port: int, ended: CommandResult) -> CommandResult:
    from gateway.cli.review.desk import Desk
    from gateway.cli.review.log import reviewing
    from gateway.cli.review.record import record

    manifest = manifest_of(folder)
    folder = manifest.parent
    with reviewing(folder):
        record(folder)  # What a killed review left.
        desk = Desk(folder, manifest, _originals(folder, images))
        if not len(desk.catalogue):
            raise CliError(f"{folder} holds no image.", exit_code=3, reason="NOTHING_TO_REVIEW")
        server = _server(desk, port)
        ended.document.update(desk.counts())
        say = terminal(stderr=True)
        say.print(f"review {escaped(str(folder))} at", markup=False, soft_wrap=True)
        say.print(server.url, markup=False, soft_wrap=True, style="bold")
        say.print("until you finish there, or press Ctrl-C here", style="dim")
        try:
            server.serve_forever(poll_interval=0.2)
        finally:
            server.server_close()
            ended.document.update(desk.counts())
            record(folder)
    return ended


def _server(desk: Any, port: int) -> "ReviewServer":
    from gateway.cli.review.server import ReviewServer

    try:
        return ReviewServer(desk, port)
    except OSError as error:
        raise CliError(
            f"The port {port} of 127.0.0.1 cannot be had: {error.strerror or error}.",
            exit_code=3,
            remedy="Choose another --port, or leave it out.",
            reason="PORT_IN_USE",
        ) from error


def _originals(folder: Path, images: Path | None) -> Path | None:
    """Where the parents are: as said, or where they were when the output was made."""
    from gateway.cli.outputs import source_of

    if images is not None and not images.is_dir():
        raise CliError(
            f"{images} is no folder.",
            remedy="Give the folder of images that the output was made from.",
            reason="NOT_A_FOLDER",
        )
    return images or source_of(folder)


def _print(console: "Console", document: dict[str, Any]) -> None:
    if "open" not in document:
        console.print("stopped before the review began")
        return
    accepted, rejected, left = (document[one] for one in ("accepted", "rejected", "open"))
    console.print(
        f"[bold green]✓[/bold green] {accepted:,} accepted, {rejected:,} rejected, {left:,} open"
    )
    if rejected:
        console.print(
            "  train and merge leave the rejected ones out; the output's own augment "
            "command replaces them",
            style="dim",
        )
