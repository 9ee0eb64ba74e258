"""Output folders: never half-taken, never silently replaced.

A run writes `.variegate.json` into its output first, and marks it finished last. So:
  no such folder, or empty     starts
  the same run, unfinished     goes on, with or without --resume
  the same run, finished       --resume answers at once; --overwrite does it again
  a preview                    replaced
  another run's output         --overwrite only
  anything else                refused, also with --overwrite: variegate deletes only its own
"""

import json
import shutil
from pathlib import Path
from typing import Any

from gateway.cli.failures import CliError

MARKER = ".variegate.json"


def claim(out: Path, run: str, *, resume: bool, overwrite: bool, dry: bool = False) -> None:
    """Takes the folder for `run` (an id of the command and all its settings) or raises CliError.

    With `dry` it only checks, so that a mistake is told before anything is started.
    """
    if resume and overwrite:
        raise CliError("--resume and --overwrite exclude each other.", remedy="Give one of them.")
    if out.exists() and not out.is_dir():
        raise CliError(f"{out} is a file, not a folder.", remedy="Choose another --out.")
    if out.is_dir() and any(out.iterdir()):
        _check(out, run, resume=resume, overwrite=overwrite)
        if (overwrite or _is_preview(out)) and not dry:
            shutil.rmtree(out)
    if not dry:
        _write(out, {"run": run, "state": "running"})


def is_begun(out: Path, run: str) -> bool:
    """Says whether the folder holds an unfinished output of this run."""
    marker = _read(out) or {}
    return marker.get("run") == run and marker.get("state") == "running"


def finish(out: Path, run: str, **facts: Any) -> None:
    """Marks the folder as finished, with facts for those who look."""
    _write(out, {"run": run, "state": "finished", **facts})


def apart(out: Path, *sources: Path | None) -> None:
    """Raises CliError if the output lies in a source or around it: it would become input."""
    out = out.resolve()
    for source in sources:
        if source and (out.is_relative_to(source) or source.is_relative_to(out)):
            raise CliError(
                f"The output {out} and the images {source} lie in each other.",
                remedy="Choose an --out beside the images.",
                reason="OUTPUT_IN_SOURCE",
            )


def _check(out: Path, run: str, *, resume: bool, overwrite: bool) -> None:
    marker = _read(out)
    if marker is None:
        raise _exists(
            f"{out} is not empty, and variegate did not make it.",
            "Choose another --out, or empty the folder yourself.",
        )
    if overwrite or _is_preview(out):
        return
    same, running = marker.get("run") == run, marker.get("state") == "running"
    if same and (running or resume):
        return
    if same:
        raise _exists(
            f"{out} holds the finished output of this very command.",
            "Use --resume to see its summary again, --overwrite to replace it, or another --out.",
        )
    what = "an unfinished run" if running else "the output of a run"
    raise _exists(
        f"{out} holds {what} with other images or settings.",
        "Repeat that run's own command to go on with it, or use --overwrite, or another --out.",
    )


def _is_preview(out: Path) -> bool:
    return bool((_read(out) or {}).get("preview"))


def _exists(message: str, remedy: str) -> CliError:
    return CliError(message, exit_code=3, remedy=remedy, reason="OUTPUT_EXISTS")


def _read(out: Path) -> dict[str, Any] | None:
    try:
        marker: dict[str, Any] = json.loads((out / MARKER).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return marker


def _write(out: Path, marker: dict[str, Any]) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        staged = out / f"{MARKER}.new"
        staged.write_text(json.dumps(marker, indent=2, sort_keys=True) + "\n", "utf-8")
        staged.replace(out / MARKER)
    except OSError as error:
        raise CliError(
            f"{out} cannot be written: {error.strerror or error}.",
            exit_code=3,
            remedy="Check the permissions and the space on the disk, or choose another --out.",
            reason="OUTPUT_NOT_WRITABLE",
        ) from error
