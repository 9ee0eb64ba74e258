"""Output folders: never half-taken, never silently replaced.

A run writes `.variegate.json` into its output first, and marks it finished last. So:
  no such folder, or empty     starts
  the same run, unfinished     goes on, with or without --resume
  the same run, finished       --resume answers at once; --overwrite does it again
  the same, and a person       goes on: what was rejected since is replaced
    rejected images of it
  a preview                    replaced
  the same, with other models  --overwrite only
  another run's output         --overwrite only
  anything else                refused, also with --overwrite: variegate deletes only its own
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datafiles.places.opening import special_kind
from gateway.cli.failures import CliError
from gateway.cli.review.log import LOG, read_review

MARKER = ".variegate.json"


@dataclass(frozen=True)
class OutputFolder:
    """An output folder: what command fills it, and with which models, by role."""

    folder: Path
    command: str
    models: Mapping[str, str]


def check(out: Path, command: str, *, resume: bool, overwrite: bool) -> None:
    """Raises CliError if `command` (an id of it and all its settings) cannot have the folder.

    It is for before anything is started, when the models are not known yet.
    """
    if resume and overwrite:
        raise CliError("--resume and --overwrite exclude each other.", remedy="Give one of them.")
    # The nearest that is there: a folder cannot be made below a file, nor in a pipe.
    there = next((one for one in (out, *out.absolute().parents) if os.path.lexists(one)), out)
    if os.path.lexists(there) and not there.is_dir():
        kind = (
            special_kind(there.lstat().st_mode) or ("a link to nothing", "a file")[there.exists()]
        )
        raise CliError(f"{there} is {kind}, not a folder.", remedy="Choose another --out.")
    if out.is_dir() and any(out.iterdir()):
        _check(out, command, resume=resume, overwrite=overwrite)


def is_begun(place: OutputFolder) -> bool:
    """Says whether the folder holds an unfinished output of this very run."""
    marker = _read(place.folder) or {}
    same = marker.get("run") == place.command and marker.get("models") == dict(place.models)
    return same and marker.get("state") == "running"


def claim(place: OutputFolder, *, resume: bool, overwrite: bool) -> None:
    """Takes the folder or raises CliError, also if it holds the same with other models."""
    out = place.folder
    check(out, place.command, resume=resume, overwrite=overwrite)
    marker = _read(out)
    if (overwrite or _is_preview(out)) and out.is_dir() and any(out.iterdir()):
        _empty(out, keeps_review=not overwrite)
    elif marker is not None and (changed := _changed(marker.get("models", {}), place.models)):
        raise _exists(
            f"{out} holds the output of this same command with other models: another {changed}.",
            "Use the same models to go on with it, --overwrite to replace it, or another --out.",
        )
    _write(place, "running")


def is_output(folder: Path) -> bool:
    """Says whether variegate made the folder."""
    return _read(folder) is not None


def is_finished(out: Path) -> bool:
    """Says whether the folder holds a whole output."""
    return (_read(out) or {}).get("state") == "finished"


def is_reviewed(out: Path) -> bool:
    """Says whether other images of a finished output are rejected than when it was made."""
    marker = _read(out) or {}
    return is_finished(out) and read_review(out).digest != marker.get("review", "")


def source_of(folder: Path) -> Path | None:
    """Returns where the images are that an output was made from; None if that is not known."""
    source = (_read(folder) or {}).get("source")
    return Path(source) if isinstance(source, str) and source else None


def finish(place: OutputFolder, **facts: Any) -> None:
    """Marks the folder as finished, with facts for those who look."""
    _write(place, "finished", **facts)


def _changed(then: Mapping[str, str], now: Mapping[str, str]) -> str:
    roles = [role for role in sorted({*then, *now}) if then.get(role) != now.get(role)]
    return ", another ".join(roles)


def apart(out: Path, *sources: Path | None) -> None:
    """Raises CliError if the output lies in a source or around it: it would become input."""
    out = out.resolve()
    for source in sources:
        if source and (out.is_relative_to(source) or source.is_relative_to(out)):
            raise CliError(
                f"The output {out} and the images {source} overlap: one is inside the other.",
                remedy="Choose an --out beside the images.",
                reason="OUTPUT_IN_SOURCE",
            )


def apart_from_state(state: Path, out: Path | None, *sources: Path | None) -> None:
    """Raises CliError if the system would keep its work among the images, or in the output.

    There it would be taken for images, or be deleted with a replaced output. A hidden folder, as
    the usual one is, is no class.
    """
    state = state.expanduser().resolve()
    for source in sources:
        if source and state.is_relative_to(source):
            parts = state.relative_to(source).parts
            if not any(part.startswith(".") for part in parts):
                raise _mixed(state, f"the images {source}")
    if out and state.is_relative_to(out.resolve()):
        raise _mixed(state, f"the output {out}")


def _mixed(state: Path, other: str) -> CliError:
    return CliError(
        f"The state folder {state} lies in {other}.",
        remedy="Choose another with --state DIR or VARIEGATE_STATE.",
        reason="STATE_IN_THE_WAY",
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
    if same and (running or resume or is_reviewed(out)):
        return
    if same:
        raise _exists(
            f"{out} holds the finished output of this same command.",
            "Use --resume to see its summary again, --overwrite to replace it, or another --out.",
        )
    what = "an unfinished run" if running else "the output of a run"
    raise _exists(
        f"{out} holds {what} with other images or settings.",
        "Repeat that run's own command to go on with it, or use --overwrite, or another --out.",
    )


def _is_preview(out: Path) -> bool:
    return bool((_read(out) or {}).get("preview"))


def _empty(out: Path, *, keeps_review: bool) -> None:
    """Empties a folder of variegate's. What a person decided on a preview counts for the run."""
    # The marker stays, too: a process that is killed here leaves a folder that is still ours.
    kept = {MARKER, LOG} if keeps_review else {MARKER}
    for path in out.iterdir():
        if path.name in kept:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _exists(message: str, remedy: str) -> CliError:
    return CliError(message, exit_code=3, remedy=remedy, reason="OUTPUT_EXISTS")


def _read(out: Path) -> dict[str, Any] | None:
    try:
        marker = json.loads((out / MARKER).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return marker if isinstance(marker, dict) else None


def _write(place: OutputFolder, state: str, **facts: Any) -> None:
    out = place.folder
    marker = {"run": place.command, "models": dict(place.models), "state": state, **facts}
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
