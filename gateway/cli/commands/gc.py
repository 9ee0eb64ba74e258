"""`variegate gc`: discards what nothing in an object store needs, while the system runs."""

import re
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli import options
from gateway.cli.execute import CommandResult, settle
from servicekit.escaping import escaped

if TYPE_CHECKING:
    from rich.console import Console

    from gateway.cli.progress import View

_UNITS = {"h": 3600.0, "d": 86400.0, "w": 604800.0}
# Twice what an object may have been found again before it counts as new.
_LEAST_HOURS = 2
OlderThan = Annotated[
    str,
    typer.Option(
        "--older-than",
        metavar="AGE",
        help="Keep what was stored or used again in this time: 36h, 7d, 4w; at least "
        f"{_LEAST_HOURS}h.",
    ),
]
Delete = Annotated[bool, typer.Option("--delete", help="Delete; without it, only count.")]
Caches = Annotated[
    bool,
    typer.Option(
        "--caches",
        help="Also what only saves time: captions, embeddings, fingerprints, measured rates. Not "
        "while work is unfinished.",
    ),
]


def gc(
    delete: Delete = False,
    older_than: OlderThan = "7d",
    caches: Caches = False,
    store: options.Store = None,
    state: options.State = options.DEFAULT_STATE,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Free the space of what nothing in an object store names, and say what is missing.

    Datasets, augmentations, studies, training runs, tunings and indexes are
    kept, with every object that they or unfinished work name. What is left is
    free once it is old enough. Services may run meanwhile. Objects of no kind
    of variegate's are never touched. Images that a program of yours made with
    the generator itself are named by nothing here: have it write them to an
    output_uri of its own. To free what you no longer need in the state folder
    of this machine, see `variegate clean`.

    $ variegate gc --store 's3://variegate?endpoint=minio:9000'
    $ variegate gc --store 's3://variegate?endpoint=minio:9000' --older-than 2w --delete
    """
    common = options.Common(store=store, state=state, json=json, debug=debug)
    settle(common, lambda: _gc(common, _seconds(older_than), caches, delete))


def _gc(common: options.Common, seconds: float, caches: bool, delete: bool) -> CommandResult:
    from gateway.cli.failures import CliError
    from gateway.cli.garbage.collecting import collect, to_plain
    from gateway.cli.progress import view
    from servicekit.storage import check_store

    store, place = _opened(common)
    check_store(store)
    before = time.time() - seconds
    with view() as shown:
        if caches and (open_ := _unfinished(store)):
            raise CliError(
                f"{open_} is not finished and may be using what only saves time.",
                remedy="Wait until it is, or leave out --caches.",
                reason="WORK_UNFINISHED",
            )
        report = _reporting(shown)
        found = collect(store, before, caches=caches, delete=delete, report=report)
    plain = {"store": place, "deleted": delete, "older_than_seconds": seconds, **to_plain(found)}
    return CommandResult(plain, lambda console: _print(console, plain))


def _opened(common: options.Common) -> tuple[Any, str]:
    """Returns the store and its URL. Raises CliError if there is none."""
    from gateway.cli.connect import own_store, store_url
    from gateway.cli.failures import CliError
    from gateway.cli.running import is_state
    from servicekit.storage import open_store

    url = store_url(common)
    if not url and not is_state(common.state):
        raise CliError(
            f"No store was given, and {common.state} is not a state folder.",
            exit_code=3,
            remedy="Add --store URL (or VARIEGATE_STORE), as the services were started with.",
            reason="NO_STORE",
        )
    if url.startswith("file:"):
        _check_folder(url)
    return open_store(url or own_store(common.state)), url or own_store(common.state)


def _check_folder(url: str) -> None:
    """Raises CliError for a folder that is not there, which opening it as a store would make."""
    from pathlib import Path
    from urllib.parse import unquote, urlsplit

    from gateway.cli.failures import CliError

    if not (folder := Path(unquote(urlsplit(url).path, errors="surrogateescape"))).is_dir():
        raise CliError(
            f"There is no folder {folder}.",
            exit_code=3,
            remedy="Correct --store.",
            reason="NO_STORE",
        )


def _unfinished(store: Any) -> str:
    """Returns one of what was asked for and is not finished; "" if there is none."""
    for prefix in ("datasets/", "studies/"):
        for entry in store.entries(prefix):
            name, _, file = entry.key.rpartition("/")
            if file == "request.json" and not store.exists(f"{name}/resource.json"):
                return str(name)
    return ""


def _reporting(shown: "View") -> Any:
    from gateway.cli.progress import ProgressLine

    def report(stage: str, count: int) -> None:
        shown.show(ProgressLine(stage=stage, done=count, total=0, unit="objects"))

    return report


def _seconds(text: str) -> float:
    """Raises CliError for what is no age, and for one that is too small to be safe."""
    from gateway.cli.failures import CliError

    match = re.fullmatch(r"(\d{1,4})([hdw])", text.strip())
    seconds = int(match[1]) * _UNITS[match[2]] if match else 0.0
    if seconds < _LEAST_HOURS * _UNITS["h"]:
        raise CliError(
            f"--older-than is {text!r}; it is a number of hours, days or weeks, as 36h, 7d or 4w, "
            f"and at least {_LEAST_HOURS}h.",
            remedy="What running work has just found or made is known by its age alone.",
        )
    return seconds


def _print(console: "Console", plain: dict[str, Any]) -> None:
    from gateway.cli.tables import table

    shown = table("kind", "kept", "free", "size", "oldest", "newest", "too young", right=_RIGHT)
    for row in plain["kinds"]:
        free, young = row["free"], row["young"]
        shown.add_row(
            row["kind"],
            f"{row['kept']['count']:,}",
            f"{free['count']:,}",
            _bytes(free["bytes"]),
            (free["oldest"] or "")[:10],
            (free["newest"] or "")[:10],
            f"{young['count']:,}",
        )
    console.print(shown)
    for line in _lines(plain):
        console.print(line, markup=False, highlight=False)


_RIGHT = ("kept", "free", "size", "too young")


def _lines(plain: dict[str, Any]) -> list[str]:
    lines, halves, unknown = [], plain["half_written"], plain["unknown"]
    if halves["count"]:
        lines.append(f"half-written objects: {halves['count']:,}, {_bytes(halves['bytes'])}")
    if unknown["count"]:
        some = ", ".join(map(escaped, unknown["some"][:3]))
        lines.append(
            f"not ours, never touched: {unknown['count']:,} objects, {_bytes(unknown['bytes'])}, "
            f"such as {some}"
        )
    if (missing := plain["missing"])["count"]:
        some = ", ".join(map(escaped, missing["some"][:3]))
        lines.append(
            f"warning: {missing['count']:,} objects are named and are not there, such as {some}; "
            "restore them from a backup of the store, or make what names them again"
        )
    if plain["unfinished"]:
        lines.append(f"kept for {len(plain['unfinished'])} that are not finished")
    if plain["renewed_count"]:
        lines.append(f"kept after all, since they were just used: {plain['renewed_count']:,}")
    if plain["deleted"]:
        size = plain["discarded_bytes"] + halves["bytes"]
        lines.append(f"{plain['discarded_count']:,} objects deleted, {_bytes(size)} freed")
    elif plain["free_count"] or halves["count"]:
        size = _bytes(plain["free_bytes"] + halves["bytes"])
        lines.append(f"{size} can be freed; nothing was deleted. Add --delete to delete.")
    else:
        lines.append(f"nothing to free in {escaped(plain['store'])}")
    return lines


def _bytes(size: int) -> str:
    from rich.filesize import decimal

    return decimal(size)
