"""`variegate doctor`: is everything here that the system needs?"""

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from gateway.cli import options
from gateway.cli.execute import CommandResult, settle

PRECONDITION = 3

PortBase = Annotated[
    int,
    typer.Option(
        metavar="PORT",
        min=1024,
        max=65530,
        help="The first of the six ports that `variegate up` would take.",
    ),
]


def doctor(
    port_base: PortBase = 50051,
    store: options.Store = None,
    state: options.State = options.DEFAULT_STATE,
    models: options.Models = None,
    device: options.Device = "",
    dtype: options.DType = "",
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Check the installation and what is set; every problem comes with its remedy.

    $ variegate doctor
    $ variegate doctor --models ./models --device cuda
    """
    common = options.Common(None, None, store, state, json, debug, models, device, dtype)
    settle(common, lambda: _examine(common, port_base))


def _examine(common: options.Common, port_base: int) -> CommandResult:
    from gateway.cli.checks import all_checks
    from gateway.cli.findings import Check

    checks = list(all_checks(common, port_base))
    healthy = all(check.passed for check in checks if check.required)

    def render(console: Console) -> None:
        for check in checks:
            console.print(_line(check), highlight=False)
        console.print("everything needed is here" if healthy else "some things are missing")

    def _line(check: Check) -> str:
        colour = "green" if check.passed else "red" if check.required else "yellow"
        sign = "✓" if check.passed else "✗" if check.required else "!"
        line = f"[{colour}]{sign}[/] {escape(check.name):28} [dim]{escape(check.detail)}[/]"
        return line if check.passed else f"{line}\n  {escape(check.remedy)}"

    document = {"healthy": healthy, "checks": [vars(check) for check in checks]}
    return CommandResult(document, render, 0 if healthy else PRECONDITION)
