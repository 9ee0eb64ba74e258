"""Walks the folders of other people: nothing is opened, and nothing is left out silently."""

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from datafiles.ignored import is_ignored
from datafiles.places.opening import special_kind
from datafiles.rejected import RejectedFile

# Device and inode of each folder from the root down, against links that lead in circles.
_Chain = frozenset[tuple[int, int]]


@dataclass(frozen=True)
class Links:
    """Which links count. `admits` says whether a real path may be read.

    Without `follow` a link may lead to a file that is admitted; with it also to a folder.
    """

    admits: Callable[[Path], bool]
    follow: bool = False


# None may be read but those to files in the folder itself, which its place admits.
NO_LINKS = Links(lambda _: False)


def walk(root: Path, links: Links) -> Iterator[str | RejectedFile]:
    """Yields the paths of the regular files below a folder, "/" between their parts.

    The order is fixed: the files of a folder by name, then its folders. What cannot be read or is
    no file is yielded as a RejectedFile in its place; what `is_ignored` names is passed over.
    """
    waiting: list[tuple[str, _Chain]] = [("", frozenset())]
    while waiting:
        folder, above = waiting.pop()
        try:
            facts = (root / folder).stat()
            with os.scandir(root / folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            yield _unreadable(folder.rstrip("/") or ".", error)
            continue
        chain = above | {(facts.st_dev, facts.st_ino)}
        folders = []
        for entry in entries:
            if is_ignored(entry.name):
                continue
            path = folder + entry.name
            what = _look(entry, path, links, chain)
            if what is None:
                folders.append(f"{path}/")
            else:
                yield what
        waiting.extend((path, chain) for path in reversed(folders))


def folders_of(root: Path, links: Links) -> list[str]:
    """Returns the names of the folders that `walk` would enter from `root`, sorted.

    Of one that cannot be read it tells nothing; `walk` does.
    """
    try:
        with os.scandir(root) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError:
        return []
    return [
        entry.name
        for entry in entries
        if not is_ignored(entry.name) and _look(entry, entry.name, links, frozenset()) is None
    ]


def folders_behind(root: Path) -> set[Path]:
    """Returns the folders outside a folder that links below it lead into, by their real paths."""
    root = Path(os.path.realpath(root))
    found = set()
    for path in walk(root, Links(lambda _: True, follow=True)) if root.is_dir() else ():
        if isinstance(path, str):
            target = Path(os.path.realpath(root / path))
            if not target.is_relative_to(root):
                found.add(target.parent)
    return found


def _look(
    entry: os.DirEntry[str], path: str, links: Links, chain: _Chain
) -> str | RejectedFile | None:
    """Returns the path of a file, why an entry is left out, or None for a folder to walk."""
    try:
        if entry.is_symlink():
            return _follow(entry, path, links, chain)
        if entry.is_dir(follow_symlinks=False):
            return None
        if entry.is_file(follow_symlinks=False):
            return path if _is_utf8(path) else _bad_name(path)
        return _special(path, entry.stat(follow_symlinks=False).st_mode)
    except OSError as error:
        return _unreadable(path, error)


def _follow(
    entry: os.DirEntry[str], path: str, links: Links, chain: _Chain
) -> str | RejectedFile | None:
    target = Path(os.path.realpath(entry.path))
    if not links.admits(target):
        if links.follow:
            where = "outside the folders that this gateway may import from"
            remedy = "start it with GATEWAY_IMPORT_ROOTS (--import-root) for them"
            return RejectedFile(
                path, "OUTSIDE_ROOT", f"{path} is a link to {target}, {where}; {remedy}"
            )
        message = f"{path} is a link that leaves the folder; {_REMEDY}"
        return RejectedFile(path, "OUTSIDE_ROOT", message)
    try:
        facts = target.stat()
    except FileNotFoundError:
        return RejectedFile(path, "BAD_LINK", f"{path} is a link to nothing; remove or correct it")
    if stat.S_ISDIR(facts.st_mode):
        if not links.follow:
            return RejectedFile(path, "BAD_LINK", f"{path} is a link to a folder; {_REMEDY}")
        if (facts.st_dev, facts.st_ino) in chain:
            message = f"{path} is a link to a folder that contains it; remove it"
            return RejectedFile(path, "BAD_LINK", message)
        return None
    if special_kind(facts.st_mode):
        return _special(path, facts.st_mode)
    return path if _is_utf8(path) else _bad_name(path)


_REMEDY = "follow links (--follow-links, follow_links), or copy what it leads to"


def _special(path: str, mode: int) -> RejectedFile:
    kind = special_kind(mode) or "of an unknown kind"
    return RejectedFile(path, "NOT_A_FILE", f"{path} is {kind}, not a file; remove it")


def _unreadable(path: str, error: OSError) -> RejectedFile:
    why = error.strerror or str(error)
    return RejectedFile(path, "UNREADABLE", f"{path} cannot be read: {why}")


def _bad_name(path: str) -> RejectedFile:
    return RejectedFile(path, "NAME_NOT_UTF8", f"the name of {path} is not UTF-8; rename it")


def _is_utf8(path: str) -> bool:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
