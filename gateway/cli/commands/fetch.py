"""`variegate fetch`: models' weights into a folder that services read."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli import options
from gateway.cli.execute import KEPT, CommandResult, settle
from servicekit.escaping import escaped

if TYPE_CHECKING:
    from rich.console import Console

    from gateway.cli.weights.fetching import Fetched
    from gateway.cli.weights.wanted import WantedModel

List = Annotated[
    Path,
    typer.Argument(
        metavar="LIST",
        help="A YAML or JSON file: under models, for each model, folder and source, and if wanted "
        "files (patterns) and sha256 (of the folder, or of each file).",
        show_default=False,
    ),
]
Into = Annotated[
    Path, typer.Option(metavar="DIR", help="The folder that the models' folders are made in.")
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FOLDER", help="Those in or below this folder of DIR only; may be given repeatedly."
    ),
]
Wait = Annotated[
    bool, typer.Option("--wait", help="Fetch nothing; wait until another run has fetched them.")
]


def fetch(
    wanted: List,
    into: Into = Path("models"),
    only: Only = None,
    wait: Wait = False,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Fetch models from a hub or an S3 server, proven by digest.

    A source is hub:OWNER/NAME@REVISION (HF_TOKEN for what is not public)
    or s3://BUCKET/PREFIX?endpoint=HOST:PORT (AWS_ACCESS_KEY_ID and
    AWS_SECRET_ACCESS_KEY), where the object SHA256SUMS says what the
    files should be. Only safetensors and their configuration come, never
    pickles. A model's folder is whole or not there. What was interrupted
    goes on; what is there is read and proven, and fetched anew only if it
    is damaged.

    $ variegate fetch models.yaml --into ./models
    """
    common = options.Common(json=json, debug=debug)
    settle(common, lambda: _fetch(wanted, into, tuple(only or ()), wait, json), KEPT)


def _fetch(
    wanted: Path, into: Path, only: tuple[str, ...], wait: bool, json: bool
) -> CommandResult:
    from gateway.cli.terminal import console
    from gateway.cli.weights.fetching import await_all
    from gateway.cli.weights.wanted import read_list

    terminal = console(stderr=json)

    def told(text: str) -> None:
        terminal.print(escaped(text), markup=False, soft_wrap=True)

    models = tuple(model for model in read_list(wanted) if _is_in(model.folder, only))
    if wait:
        await_all(models, into, told)
        folders = [model.folder for model in models]
        line = f"{', '.join(folders) or 'nothing to wait for'}: there"
        return CommandResult({"folders": folders}, lambda shown: _line(shown, line))
    return _outcome(_fetch_all(models, into, told), into)


def _fetch_all(
    models: "tuple[WantedModel, ...]", into: Path, told: Callable[[str], None]
) -> "list[Fetched]":
    """Fetches one after the other. Raises the first error once all that can be had is there."""
    from gateway.cli.weights.fetching import fetch as fetch_one
    from gateway.cli.weights.staging import alone, clear
    from servicekit.errors import ServiceError

    found, failures = [], []
    with alone(into, told):
        for model in models:
            try:
                found.append(fetch_one(model, into, told))
            except ServiceError as error:
                failures.append(error)
                if len(models) > 1:
                    told(f"{model.folder}: {error.message}")
        if failures:
            raise failures[0]
        clear(into)
    return found


def _outcome(found: "list[Fetched]", into: Path) -> CommandResult:
    count = sum(one.fetched_bytes for one in found)
    came = f"{count:,} bytes came" if count else "nothing had to be fetched"
    document = {"into": str(into), "models": [vars(one) for one in found]}
    return CommandResult(
        document, lambda shown: _line(shown, f"models in {into}: {len(found)}; {came}")
    )


def _line(console: "Console", text: str) -> None:
    console.print(escaped(text), markup=False, soft_wrap=True)


def _is_in(folder: str, only: tuple[str, ...]) -> bool:
    path = Path(folder)
    return not only or any(path.is_relative_to(one) for one in only)
