"""`variegate import`: looks at every image and stores the good ones."""

import re
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from gateway.cli import options
from gateway.cli.execute import CommandResult, checked, execute
from gateway.cli.folders import check_folders
from gateway.cli.inputs import Reading, import_roots, local_paths
from gateway.cli.names_file import read_names
from gateway.cli.outputs import apart_from_state
from gateway.cli.records import noted
from gateway.cli.subset import Subset
from gateway.cli.subset_options import NONE_GIVEN, GivenSubset, subset_options
from gateway.cli.tables import table

if TYPE_CHECKING:
    from rich.console import Console
    from variegate.gateway.v1 import gateway_pb2 as pb

    from gateway.cli.session import Session


def _checked_name(name: str | None) -> str | None:
    if name is not None and not re.fullmatch("[a-z][a-z0-9_-]{0,63}", name):
        raise typer.BadParameter(
            f"{name!r} is not a dataset name: use at most 64 of a-z, 0-9, - and _, a letter first."
        )
    return name


Name = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        callback=_checked_name,
        help="Name of the dataset, a-z, 0-9, - and _; by default made of the folder's name and "
        "content. Other commands take it as dataset:NAME.",
    ),
]


@subset_options
def import_(
    source: options.Source,
    test: options.Test = None,
    layout: options.Layout = "auto",
    follow_links: options.FollowLinks = False,
    image_column: options.ImageColumn = "",
    label_column: options.LabelColumn = "",
    subset: GivenSubset = NONE_GIVEN,
    refuse_leaks: options.RefuseLeaks = False,
    names: options.Names = None,
    name: Name = None,
    gateway: options.Gateway = None,
    tls_ca: options.TlsCa = "",
    tls_certificate: options.TlsCertificate = "",
    tls_key: options.TlsKey = "",
    state: options.State = options.DEFAULT_STATE,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Import images, and see what is wrong with which file.

    $ variegate import ./my-images --name pets
    $ variegate augment dataset:pets --per-class 100 --out ./augmented
    """
    tls = options.Tls(tls_ca, tls_certificate, tls_key)
    common = options.Common(gateway=gateway, state=state, json=json, debug=debug, tls=tls)

    reading = Reading(layout, follow_links, image_column, label_column)

    def prepare() -> tuple[Subset, dict[str, str]]:
        if not gateway:
            apart_from_state(state, None, *local_paths(source, test))
        check_folders(source, test, reading)
        return subset.read(), read_names(names)

    used, called = checked(common, prepare)

    async def work(session: "Session") -> CommandResult:
        from gateway.cli.steps import dataset_document, import_images, shortfall

        dataset = await import_images(
            session, source, test, used, name, called, refuse_leaks, reading
        )
        outcome = CommandResult(
            dataset_document(dataset), lambda console: _print(console, dataset), shortfall(dataset)
        )
        return noted(common, outcome, "name")

    execute(common, work, roots=import_roots(source, test, reading=reading))


def _print(console: "Console", dataset: "pb.Dataset") -> None:
    console.print(f"[bold]{escape(dataset.name)}[/bold]")
    # Who keeps none for validation is not shown that there could be.
    kept = ("validation",) if any(entry.validation_count for entry in dataset.classes) else ()
    splits = ("train", *kept, "test")
    shown = table("class", "in prompts", *splits, right=splits)
    for entry in dataset.classes:
        called = escape(entry.display_name)
        counts = (str(getattr(entry, f"{split}_count")) for split in splits)
        shown.add_row(escape(entry.class_name), called, *counts)
    console.print(shown)
    if dataset.rejected_files:
        shown = table("file left out", "reason")
        for file in dataset.rejected_files[:20]:
            shown.add_row(escape(file.path), escape(file.message))
        console.print(shown)
        if len(dataset.rejected_files) > 20:
            console.print(f"and {len(dataset.rejected_files) - 20} more; --json lists them all")
