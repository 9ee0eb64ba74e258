"""`variegate cancel`: stops an operation of a running system."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from gateway.cli import options
from gateway.cli.execute import Outcome, execute

if TYPE_CHECKING:
    from gateway.cli.session import Session

Name = Annotated[str, typer.Argument(help="The operation, as `variegate status` lists it.")]


def cancel(
    name: Name,
    gateway: options.Gateway = None,
    state: options.State = options.DEFAULT_STATE,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Stop an operation; what is finished is kept."""
    common = options.Common(gateway=gateway, state=state, json=json, debug=debug)

    async def work(session: "Session") -> Outcome:
        from google.longrunning import operations_pb2 as pb

        # Asked first: cancelling what does not exist or is over would be silent.
        request = pb.GetOperationRequest(name=name)
        operation = await session.call(session.operations.GetOperation, request)
        if not operation.done:
            order = pb.CancelOperationRequest(name=name)
            await session.call(session.operations.CancelOperation, order)
        text = "was over already" if operation.done else "is being cancelled"
        return Outcome(
            {"name": name, "cancelled": not operation.done},
            lambda console: console.print(f"{escape(name)} {text}"),
        )

    execute(common, work, start=False)
