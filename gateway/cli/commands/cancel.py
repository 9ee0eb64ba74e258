"""`variegate cancel`: stops an operation of a running system."""

from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli import options
from gateway.cli.execute import CommandResult, execute

if TYPE_CHECKING:
    from gateway.cli.session import Session

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="The operation, as `variegate status` lists it.")
]


def cancel(
    name: Name,
    gateway: options.Gateway = None,
    trainer: options.Trainer = None,
    tls_ca: options.TlsCa = "",
    tls_certificate: options.TlsCertificate = "",
    tls_key: options.TlsKey = "",
    state: options.State = options.DEFAULT_STATE,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Stop an operation; what is finished is kept.

    Any command that runs in the state folder is found, as by status.

    $ variegate status
    $ variegate cancel operations/mvc-0123456789ab
    """
    tls = options.Tls(tls_ca, tls_certificate, tls_key)
    common = options.Common(gateway, trainer, None, state, json, debug, tls=tls)

    async def work(session: "Session") -> CommandResult:
        from gateway.cli import operations

        found = await operations.cancel(session, name)
        runs = found.state == "running"
        text = "is being cancelled" if runs else f"was over already: {found.state}"
        return CommandResult(
            {"name": name, "cancelled": runs},
            lambda console: console.print(f"{name} {text}", markup=False, soft_wrap=True),
        )

    execute(common, work, start=False)
