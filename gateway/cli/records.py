"""What the user has of what was made: a small file in the state for each output folder.

`variegate clean` reads them. A run without one, as of a command that was killed, counts as wanted.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from gateway.cli.execute import CommandResult
from gateway.cli.failures import CliError
from gateway.cli.options import Common
from gateway.cli.outputs import MARKER

_FOLDER = "outputs"


@dataclass(frozen=True)
class OutputRecord:
    """That a resource was written into the folder `out`, an absolute path; "" if it was asked for
    by name and stays in the store."""

    resource: str
    out: str = ""

    @property
    def is_wanted(self) -> bool:
        """False if the folder is gone, or holds the output of another run. In doubt it is true."""
        if not self.out:
            return True
        try:
            marker = json.loads((Path(self.out) / MARKER).read_text("utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return False
        except (OSError, ValueError):
            return True
        if not isinstance(marker, dict) or marker.get("state") == "running":
            return True
        return self.resource in (marker.get("augmentation"), marker.get("study"))


def record(state: Path, resource: str, out: Path | None = None) -> None:
    """Notes that the user has the resource in `out`, or asked for it by name."""
    made = OutputRecord(resource, str(out.absolute()) if out else "")
    text = json.dumps(asdict(made), indent=1)
    folder = state / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    path = _place(state, made)
    staged = path.with_suffix(".new")
    staged.write_text(text, "utf-8")
    staged.replace(path)


def noted(
    common: Common, outcome: CommandResult, field: str, out: Path | None = None
) -> CommandResult:
    """Notes what a command of this state made, named by a field of its document; a plan is none.

    What a system elsewhere made is none of this state's.
    """
    resource = outcome.document.get(field)
    if resource and not common.gateway:
        with suppress(OSError):  # Without a note it counts as wanted.
            record(common.state, str(resource), out)
    return outcome


def records(state: Path) -> Iterator[OutputRecord]:
    """Yields what was noted. Raises CliError for a note that is damaged."""
    for path in sorted((state / _FOLDER).glob("*.json")):
        try:
            yield OutputRecord(**json.loads(path.read_text("utf-8")))
        except (ValueError, TypeError) as error:
            raise CliError(
                f"{path}, which says where an output is, is damaged; so what is free is not known.",
                exit_code=3,
                remedy="Delete that file: without --all its output then counts as needed.",
                reason="NOTE_DAMAGED",
            ) from error


def forget(state: Path, made: OutputRecord) -> None:
    """Deletes a note."""
    _place(state, made).unlink(missing_ok=True)


def _place(state: Path, made: OutputRecord) -> Path:
    name = hashlib.sha256(json.dumps([made.resource, made.out]).encode()).hexdigest()[:32]
    return state / _FOLDER / f"{name}.json"
