"""`variegate status`: the operations of a running system."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from gateway.cli import options
from gateway.cli.execute import Outcome, execute
from gateway.cli.tables import table

if TYPE_CHECKING:
    from rich.console import Console

    from gateway.cli.session import Session

Name = Annotated[
    str | None,
    typer.Argument(metavar="[NAME]", help="One operation; all without it.", show_default=False),
]


def status(
    name: Name = None,
    gateway: options.Gateway = None,
    state: options.State = options.DEFAULT_STATE,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Show what a running system does and has done."""
    common = options.Common(gateway=gateway, state=state, json=json, debug=debug)

    async def work(session: "Session") -> Outcome:
        from google.longrunning import operations_pb2 as pb

        if name:
            request = pb.GetOperationRequest(name=name)
            found = [await session.call(session.operations.GetOperation, request)]
        else:
            found = await _all(session)
        rows = [_document(operation) for operation in found]
        return Outcome({"operations": rows}, lambda console: _print(console, rows))

    execute(common, work, start=False)


async def _all(session: "Session") -> list[Any]:
    from google.longrunning import operations_pb2 as pb

    found: list[Any] = []
    token = ""
    while True:
        request = pb.ListOperationsRequest(page_size=100, page_token=token)
        page = await session.call(session.operations.ListOperations, request)
        found += page.operations
        token = page.next_page_token
        if not token:
            return found


def _document(operation: Any) -> dict[str, Any]:
    from variegate.gateway.v1 import gateway_pb2

    from gateway.cli.session import step_of

    progress = gateway_pb2.OperationProgress()
    operation.metadata.Unpack(progress)
    step = step_of(progress)
    failed = operation.HasField("error")
    return {
        "name": operation.name,
        "state": "failed" if failed else "done" if operation.done else "running",
        "stage": step.title if not operation.done else "",
        "done_count": step.done,
        "total_count": step.total,
        "failed_count": step.failed,
        "pace": step.pace if not operation.done else "",
        "error": operation.error.message,
    }


def _print(console: "Console", rows: list[dict[str, Any]]) -> None:
    if not rows:
        console.print("no operations")
        return
    colours = {"running": "cyan", "done": "green", "failed": "red"}
    shown = table("operation", "state", "stage", "done", "", right=("done",))
    for row in rows:
        state = f"[{colours[row['state']]}]{row['state']}[/]"
        count = f"{row['done_count']}/{row['total_count']}" if row["total_count"] else ""
        shown.add_row(
            escape(row["name"]), state, escape(row["stage"]), count,
            escape(row["error"] or row["pace"]),
        )  # fmt: skip
    console.print(shown)
