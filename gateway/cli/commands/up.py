"""`variegate up`: the whole system on fixed ports, until it is stopped."""

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from gateway.cli import options
from gateway.cli.execute import CommandResult, settle
from gateway.cli.failures import CliError
from gateway.cli.interrupts import run
from gateway.cli.tables import table
from gateway.cli.terminal import console

if TYPE_CHECKING:
    from gateway.cli.root import System

SERVICES = 6

PortBase = Annotated[
    int,
    typer.Option(
        metavar="PORT",
        min=1024,
        max=65530,
        help="Port of the gateway; the five others come after it.",
    ),
]
ImportRoot = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="DIR",
        help="Folder that datasets may be imported from; repeatable.",
        show_default="the current folder",
    ),
]


def up(
    port_base: PortBase = 50051,
    import_root: ImportRoot = None,
    store: options.Store = None,
    state: options.State = options.DEFAULT_STATE,
    models: options.Models = None,
    device: options.Device = "",
    dtype: options.DType = "",
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Start all six services and leave them running until Ctrl-C.

    $ variegate up
    $ variegate up --port-base 50100 --import-root ./photos
    """
    common = options.Common(None, None, store, state, json, debug, models, device, dtype)
    here = [] if os.environ.get("GATEWAY_IMPORT_ROOTS") else [Path.cwd()]
    roots = tuple(path.resolve() for path in import_root or here)
    stopped = CommandResult({"stopped": True}, lambda console: console.print("stopped"))
    settle(common, lambda: run(_serve(common, roots, port_base)), stopped)


async def _serve(common: options.Common, roots: tuple[Path, ...], port_base: int) -> NoReturn:
    from gateway.cli.connect import embedded, store_url
    from gateway.cli.running import published

    check_ports(port_base)
    for root in roots:
        if not root.is_dir():
            raise CliError(
                f"The import root {root} is not an existing folder.",
                exit_code=3,
                remedy="Name one with --import-root DIR.",
                reason="IMPORT_ROOT_MISSING",
            )
    console(stderr=True).print("starting the services", style="dim")
    url = store_url(common)
    async with embedded(common, roots, port_base=port_base, store=url) as system:
        own, targets = system.variables, system.targets
        with published(common.state, targets, url, is_shared=True, variables=own):
            _announce(common, system)
            await asyncio.Event().wait()  # until it is interrupted
    raise AssertionError("nobody sets the event")


def check_ports(port_base: int) -> None:
    """Raises CliError naming the ports that are taken."""
    from gateway.cli.ports import is_free

    ports = range(port_base, port_base + SERVICES)
    taken = [str(port) for port in ports if not is_free(port)]
    if taken:
        raise CliError(
            f"Port {', '.join(taken)} of 127.0.0.1 is in use.",
            exit_code=3,
            remedy="Stop what uses it, or choose other ports with --port-base.",
            reason="PORT_IN_USE",
        )


def _announce(common: options.Common, system: "System") -> None:
    targets: dict[str, Any] = dict(system.targets)
    terminal = console(stderr=common.json)
    shown = table("service", "address")
    for name, target in targets.items():
        shown.add_row(name, target)
    terminal.print(shown)
    roots = ", ".join(map(str, system.import_roots))
    terminal.print(f"imports from {roots}", style="dim", markup=False)
    terminal.print(
        f"try     grpcurl -plaintext {system.target} list\n"
        "or      variegate methods  (commands in this folder find it by themselves)\n"
        "Ctrl-C stops it",
        style="dim",
    )
