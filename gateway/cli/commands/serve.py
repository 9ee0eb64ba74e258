"""`variegate serve`: one service by itself."""

import importlib
from typing import Annotated

import typer

from gateway.cli.failures import unknown

# Of this command, which must not read what follows the service: that is the service's.
CONTEXT = {"help_option_names": [], "allow_extra_args": True, "ignore_unknown_options": True}

Service = Annotated[
    str,
    typer.Argument(
        metavar="SERVICE",
        help="gateway, captioner, prompter, generator, retriever or trainer.",
        show_default=False,
    ),
]


def serve(context: typer.Context, service: Service) -> None:
    """Run one service alone, until Ctrl-C.

    It takes its settings from the environment; `variegate serve SERVICE --help` lists them.

    $ variegate serve captioner --help
    $ CAPTIONER_DEVICE=cuda variegate serve captioner
    """
    from servicekit.places import SERVICES

    if service in ("-h", "--help"):
        typer.echo(context.get_help())
        return
    if service not in SERVICES:
        error = unknown("service", service, SERVICES, listing="")
        raise typer.BadParameter(error.message)
    # The services are found by name: none of them may import another.
    importlib.import_module(f"{service}.__main__").main(context.args)
