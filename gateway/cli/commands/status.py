"""`variegate status`: the operations of a running system."""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from gateway.cli import options
from gateway.cli.execute import CommandResult, execute
from servicekit.escaping import escaped

if TYPE_CHECKING:
    from rich.console import Console

    from gateway.cli.operations import Seen
    from gateway.cli.running import Running
    from gateway.cli.session import Session

Name = Annotated[
    str | None,
    typer.Argument(metavar="[NAME]", help="One operation; all without it.", show_default=False),
]
_COLOURS = {"running": "cyan", "done": "green", "failed": "red", "cancelled": "yellow"}


def status(
    name: Name = None,
    gateway: options.Gateway = None,
    trainer: options.Trainer = None,
    tls_ca: options.TlsCa = "",
    tls_certificate: options.TlsCertificate = "",
    tls_key: options.TlsKey = "",
    state: options.State = options.DEFAULT_STATE,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Show what a running system does and has done.

    Any command that runs in the state folder is found: up, augment, study, train, import.

    $ variegate status
    $ variegate status --state ./.variegate --json
    """
    tls = options.Tls(tls_ca, tls_certificate, tls_key)
    common = options.Common(gateway, trainer, None, state, json, debug, tls=tls)

    async def work(session: "Session") -> CommandResult:
        from gateway.cli import operations
        from gateway.cli.running import running_in

        found = [await operations.one(session, name)] if name else await operations.every(session)
        running = None if gateway else running_in(state)
        document: dict[str, Any] = {"operations": [_document(one) for one in found]}
        if running:
            facts = {"process": running.pid, "command": running.command}
            document["system"] = {**facts, "start_time": _moment(running.started)}
        return CommandResult(
            document, lambda console: _print(console, running, document["operations"])
        )

    execute(common, work, start=False)


def _document(seen: "Seen") -> dict[str, Any]:
    step, runs = seen.step, seen.state == "running"
    ended = time.time() if runs else seen.ended
    return {
        "name": seen.name,
        "state": seen.state,
        "stage": step.title if runs else "",
        "done_count": step.done,
        "total_count": step.total,
        "unit": step.unit,
        "failed_count": step.failed,
        "pace": step.pace if runs else "",
        "waiting": step.waiting if runs else "",
        "start_time": _moment(seen.started),
        "end_time": _moment(seen.ended),
        "seconds": round(ended - seen.started, 1) if seen.started and ended else None,
        "error": seen.error,
    }


def _moment(seconds: float) -> str | None:
    """Seconds since 1970 as text with the zone, as in RFC 3339; None if not known."""
    from datetime import datetime

    return datetime.fromtimestamp(round(seconds)).astimezone().isoformat() if seconds else None


def _print(console: "Console", running: "Running | None", rows: list[dict[str, Any]]) -> None:
    """Prints a line for the name of each operation, which no width breaks, and its facts below."""
    from functools import partial

    line = partial(console.print, soft_wrap=True, highlight=False)
    if running:
        since = time.strftime("%H:%M:%S", time.localtime(running.started))
        command = escaped(running.command)
        line(f"process {running.pid} since {since}: {command}", style="dim", markup=False)
    if not rows:
        line("no operations")
    for row in rows:
        colour = _COLOURS[row["state"]]
        line(f"{escape(row['name'])}  [{colour}]{row['state']}[/]")
        facts = [fact for fact in _facts(row) if fact]
        if facts:
            line(f"  {', '.join(facts)}", markup=False)


def _facts(row: dict[str, Any]) -> list[str]:
    from gateway.cli.progress import clock

    runs = row["state"] == "running"
    began = (row["start_time"] or "").replace("T", " ")[:19]
    return [
        row["stage"],
        f"{row['done_count']}/{row['total_count']} {row['unit']}".rstrip()
        if runs and row["total_count"]
        else "",
        row["pace"],
        f"waiting for {row['waiting']}" if row["waiting"] else "",
        f"{row['failed_count']} failed" if row["failed_count"] else "",
        f"began {began}" if began else "",
        f"{'so far' if runs else 'took'} {clock(row['seconds'])}" if row["seconds"] else "",
        row["error"],
    ]
