"""Folders of models that are whole or not there.

A model grows in INTO/.fetch/FOLDER and is renamed to INTO/FOLDER once all of it is proven. In it
lie SHA256SUMS, for people and `sha256sum --check`, and the record `.fetched`: what it is of.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fcntl import LOCK_EX, LOCK_NB, flock
from hashlib import sha256
from pathlib import Path

from gateway.cli.weights.base import SUMS, RemoteFile, is_whole
from gateway.cli.weights.download import sync_folder
from gateway.cli.weights.wanted import WantedModel

STAGING = ".fetch"
RECORD = ".fetched"


@dataclass(frozen=True)
class DownloadRecord:
    """What a folder of a model holds: of each file its size and SHA-256."""

    source: str
    patterns: tuple[str, ...]
    version: str
    files: Mapping[str, tuple[int, str]]

    def sums(self) -> str:
        """Returns the files' digests as the program sha256sum writes them."""
        return "".join(f"{digest}  {name}\n" for name, (_, digest) in sorted(self.files.items()))

    @property
    def digest(self) -> str:
        """The digest of the whole folder: that of its SHA256SUMS."""
        return sha256(self.sums().encode()).hexdigest()

    def answers(self, model: WantedModel) -> bool:
        """Says whether this is what the model in the list stands for."""
        return (
            (self.source, self.patterns) == (model.source, model.patterns)
            and model.digest in ("", self.digest)
            and all(self.files.get(name, (0, ""))[1] == one for name, one in model.digests.items())
        )

    def seems_whole(self, folder: Path) -> bool:
        """Says whether all files are there in their sizes; none is read."""
        return all(
            (folder / name).is_file() and (folder / name).stat().st_size == size
            for name, (size, _) in self.files.items()
        )

    def damaged(self, folder: Path) -> list[str]:
        """Returns the files that are not what they should be; all are read."""
        wanted = (RemoteFile(name, size, one) for name, (size, one) in self.files.items())
        return [file.name for file in wanted if not is_whole(folder / file.name, file)]


def read_record(folder: Path) -> DownloadRecord | None:
    """Returns what a folder says that it holds; None if it does not say so."""
    try:
        found = json.loads((folder / RECORD).read_text())
        files = {str(name): (int(one[0]), str(one[1])) for name, one in found["files"].items()}
        return DownloadRecord(found["source"], tuple(found["patterns"]), found["version"], files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def stage_of(into: Path, folder: str) -> Path:
    """Returns where a model grows."""
    return into / STAGING / folder


def take_back(place: Path, stage: Path) -> None:
    """Makes a model that lies in its place one that grows again."""
    shutil.rmtree(stage, ignore_errors=True)
    stage.parent.mkdir(parents=True, exist_ok=True)
    place.rename(stage)


def keep_only(stage: Path, names: set[str]) -> None:
    """Deletes what of a growing model is of another version of it."""
    for path in sorted(stage.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.relative_to(stage).as_posix() not in names:
            path.unlink()


def put_in_place(stage: Path, place: Path, record: DownloadRecord) -> None:
    """Gives a model that is whole its name; one of another version that has it is deleted."""
    _write(stage / SUMS, record.sums())
    _write(stage / RECORD, json.dumps(asdict(record), indent=1, sort_keys=True))
    for folder in [stage, *(path for path in stage.rglob("*") if path.is_dir())]:
        sync_folder(folder)
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.exists():
        # Between the two renames there is neither, and the next run goes on here.
        old = stage.with_name(f".{stage.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        place.rename(old)
        stage.rename(place)
        shutil.rmtree(old, ignore_errors=True)
    else:
        stage.rename(place)
    sync_folder(place.parent)


def _write(path: Path, text: str) -> None:
    with path.open("w") as opened:
        opened.write(text)
        opened.flush()
        os.fsync(opened.fileno())


@contextmanager
def alone(into: Path, told: Callable[[str], None]) -> Iterator[None]:
    """Keeps other runs out of a folder, and waits for one that is at work there."""
    (into / STAGING).mkdir(parents=True, exist_ok=True)
    with (into / STAGING / "lock").open("w") as lock:
        try:
            flock(lock, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            told(f"another run is at work in {into}; waiting for it")
            flock(lock, LOCK_EX)
        yield


def clear(into: Path) -> None:
    """Deletes what grows in a folder once nothing does any more."""
    for path in (into / STAGING).iterdir():
        if path.is_dir():
            shutil.rmtree(path)
