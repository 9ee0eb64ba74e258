"""What a person decided on the images of an output: a line for each, in a file beside the manifest.

The file is only ever added to, and a decision is on the disk before anybody is told of it. Its last
line counts once it ends with a newline, so a process that is killed leaves no half of a decision.
Images are told apart by the SHA-256 of their files; the newest line of one counts.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from gateway.cli.failures import CliError

LOG = "review.jsonl"


class Decision(StrEnum):
    """What was decided on an image; OPEN is nothing yet, or nothing any more."""

    OPEN = "open"
    ACCEPTED = "accepted"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: a decision on an image. `undoes` the last one, or not."""

    sha256: str
    item_id: str
    class_name: str
    decision: Decision
    undoes: bool = False


@dataclass
class Review:
    """All decisions on the images of an output.

    `newest` has the last one on each image, by the digest of its file; `undoable` has those that
    were not undone, each with what was decided on the image before.
    """

    newest: dict[str, Entry] = field(default_factory=dict)
    undoable: list[tuple[Entry, Decision]] = field(default_factory=list)

    def decision_on(self, sha256: str) -> Decision:
        """Returns the decision on an image."""
        found = self.newest.get(sha256)
        return found.decision if found else Decision.OPEN

    def add(self, entry: Entry) -> None:
        """Takes a further line."""
        if entry.undoes:
            self._forget(entry.sha256)
        else:
            self.undoable.append((entry, self.decision_on(entry.sha256)))
        self.newest[entry.sha256] = entry

    def _forget(self, sha256: str) -> None:
        """Takes the last decision on an image off those that can be undone."""
        places = range(len(self.undoable) - 1, -1, -1)
        place = next((one for one in places if self.undoable[one][0].sha256 == sha256), None)
        if place is not None:
            del self.undoable[place]

    @property
    def rejected(self) -> dict[str, str]:
        """The item ids of the rejected images, by the digest of their files."""
        entries = self.newest.values()
        return {one.sha256: one.item_id for one in entries if one.decision is Decision.REJECTED}

    @property
    def digest(self) -> str:
        """Names what is rejected, in 12 hexadecimal digits; "" if nothing is."""
        if not (ids := sorted({*self.rejected.values()})):
            return ""
        return hashlib.sha256("\n".join(ids).encode()).hexdigest()[:12]


def read_review(folder: Path) -> Review:
    """Reads what was decided in an output; nothing if there is no file.

    Raises CliError for a line that is damaged. A last line without its newline was never decided.
    """
    review = Review()
    try:
        file = (folder / LOG).open("rb")
    except (FileNotFoundError, NotADirectoryError):
        return review
    with file:
        for number, line in enumerate(file, 1):
            if line.endswith(b"\n"):
                review.add(_entry(folder, number, line))
    return review


def _entry(folder: Path, number: int, line: bytes) -> Entry:
    try:
        values = json.loads(line)
        digest, item_id, name = (str(values[key]) for key in ("sha256", "item_id", "class_name"))
        return Entry(digest, item_id, name, Decision(values["decision"]), bool(values["undoes"]))
    except (ValueError, KeyError, TypeError) as error:
        raise CliError(
            f"Line {number} of {folder / LOG} is damaged, so what was decided is not known.",
            exit_code=3,
            remedy="Delete that line; the others stay decided.",
            reason="REVIEW_DAMAGED",
        ) from error


@contextmanager
def reviewing(folder: Path) -> Iterator[None]:
    """Keeps others from reviewing or replacing an output while the block runs. Raises CliError."""
    place = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CliError(
                f"{folder} is being reviewed, or written, by another process.",
                exit_code=3,
                remedy="End that first.",
                reason="REVIEW_IN_USE",
            ) from None
        yield
    finally:
        os.close(place)


class ReviewLog:
    """Adds decisions to the file of an output, which `reviewing` keeps for this process."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.review = folder, read_review(folder)
        self._is_begun = False

    def decide(self, entry: Entry) -> None:
        """Writes a decision down; once this returns it stays. Raises OSError."""
        moment = datetime.now(UTC).isoformat(timespec="seconds")
        values = {
            "at": moment,
            "item_id": entry.item_id,
            "class_name": entry.class_name,
            "decision": entry.decision.value,
            "undoes": entry.undoes,
            "sha256": entry.sha256,
        }
        self._append(f"{json.dumps(values, ensure_ascii=False)}\n".encode())
        self.review.add(entry)

    def _append(self, line: bytes) -> None:
        path = self._folder / LOG
        with path.open("r+b" if path.exists() else "w+b") as file:
            end = _whole(file.read()) if not self._is_begun else file.seek(0, os.SEEK_END)
            file.truncate(end)
            file.seek(end)
            try:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                file.truncate(end)  # Of a full disk, which took a part of the line.
                raise
        if not self._is_begun:
            _sync_folder(self._folder)
            self._is_begun = True


def _whole(data: bytes) -> int:
    """Returns where the whole lines end."""
    return data.rfind(b"\n") + 1


def _sync_folder(folder: Path) -> None:
    place = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(place)
    finally:
        os.close(place)
