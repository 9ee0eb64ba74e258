"""The files of a state folder that nothing needs: found here, deleted here, and nowhere else.

Links are never followed, so nothing outside of the folder is touched.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.cli.needs import Needs, needs_of
from gateway.cli.records import OutputRecord, forget
from gateway.cli.references import closure, is_among
from servicekit.storage import Keep, kind_of

_RUNS = "datasets, augmentations and studies"
_INDEXES = "indexes/"
# The indexes' operations would answer that they are there.
_INDEXING = "operations/retriever/"


@dataclass(frozen=True)
class Spare:
    """A file that is free: its path, what it is, and its bytes."""

    path: Path
    kind: str
    size: int


@dataclass(frozen=True)
class Clearance:
    """What may be deleted, and what of the catalog goes with it."""

    state: Path
    files: tuple[Spare, ...]
    free: tuple[str, ...]
    kept_count: int
    unfinished_count: int
    gone: tuple[OutputRecord, ...]

    def carry_out(self) -> None:
        """Deletes the files: what says that a run is finished first, so that a run that lost an
        image is never taken for a whole one."""
        for spare in sorted(self.files, key=_turn):
            spare.path.unlink(missing_ok=True)
        for one in self.gone:
            forget(self.state, one)
        for folder in ("objects", "trainer", "retriever"):
            _drop_empty(self.state / folder)


def clearance(state: Path, *, everything: bool = False) -> Clearance:
    """Finds what no output needs; with `everything` also runs that were never written into a
    folder, and what saves time only. Raises CliError or OSError for what cannot be read."""
    files = [*_beside(state)]
    needs = Needs(frozenset(), frozenset(), frozenset(), ())
    if _is_folder(state / "objects"):
        needs = needs_of(state, everything=everything)
        files += _objects(state / "objects", needs, everything)
    free = tuple(sorted(needs.free))
    gone = tuple(one for one in needs.gone if one.resource not in needs.unfinished)
    return Clearance(state, tuple(files), free, len(needs.needed), len(needs.unfinished), gone)


def _objects(objects: Path, needs: Needs, everything: bool) -> Iterator[Spare]:
    sizes = {path.relative_to(objects).as_posix(): size for path, size in _files(objects)}
    owners = {key: _owner(key) for key in sizes}
    roots = [key for key in sizes if owners[key] in needs.needed or _is_open_run(key, sizes)]
    if not everything:
        roots += [key for key in sizes if key.startswith(_INDEXES)]
    needed = closure(objects, roots, sizes.__contains__)
    of_free = [key for key in sizes if owners[key] in needs.free]
    # What an unfinished run has made so far, nothing names yet.
    reached = closure(objects, of_free, sizes.__contains__) if needs.unfinished else None
    for key, size in sizes.items():
        kind, what = kind_of(key), ""
        if key.startswith(".staging/"):
            what = "half-written files"
        elif owners[key] in needs.free:
            what = _RUNS
        elif kind and kind.keep is Keep.NAMED and not is_among(key, needed):
            what = kind.name if reached is None or is_among(key, reached) else ""
        elif kind and everything and not needs.unfinished:
            what = kind.name if kind.keep is Keep.SAVES_TIME else _of_index(key)
        if what:
            yield Spare(objects / key, what, size)


def _of_index(key: str) -> str:
    return "indexes of pools" if key.startswith((_INDEXES, _INDEXING)) else ""


def _owner(key: str) -> str:
    """The resource that an object is a part of; "" for none."""
    parts = key.split("/")
    if parts[0] == "datasets" and parts[2:3] == ["augmentations"] and len(parts) > 4:
        return "/".join(parts[:4])
    return "/".join(parts[:2]) if parts[0] in ("datasets", "studies") and len(parts) > 2 else ""


def _is_open_run(key: str, sizes: dict[str, int]) -> bool:
    """Says whether this is the request of a training run that has not ended."""
    folder, _, name = key.rpartition("/")
    is_request = key.startswith("trainingRuns/") and name == "run.json"
    return is_request and f"{folder}/result.json" not in sizes


def _beside(state: Path) -> Iterator[Spare]:
    """What lies beside the objects and is made anew where it is needed."""
    for folder, kind in (("trainer", "files of training"), ("retriever", "files of searching")):
        for path, size in _files(state / folder):
            yield Spare(path, kind, size)
    for path in sorted(state.glob("*.log")):
        if path.is_file() and not path.is_symlink():
            yield Spare(path, "logs", path.stat().st_size)


def _files(folder: Path) -> Iterator[tuple[Path, int]]:
    """Yields the regular files below a folder with their sizes."""
    if not _is_folder(folder):
        return
    for place, _, names in os.walk(folder, onerror=_fail):
        for name in sorted(names):
            path = Path(place, name)
            facts = path.lstat()
            if stat.S_ISREG(facts.st_mode):
                yield path, facts.st_size


def _fail(error: OSError) -> None:
    raise error


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _turn(spare: Spare) -> tuple[bool, bool]:
    return spare.path.name != "resource.json", spare.kind != _RUNS


def _drop_empty(root: Path) -> None:
    """Deletes the folders that hold nothing any more, but not the root itself."""
    if not _is_folder(root):
        return
    for place, _, _ in os.walk(root, topdown=False):
        path = Path(place)
        if path not in (root, root / ".staging") and not any(path.iterdir()):
            path.rmdir()
