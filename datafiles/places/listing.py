"""What lies where: the tree of a listing, of folders only, so that a million files take no room."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from datafiles.suffixes import is_archive, is_image
from datafiles.suffixes import is_table as is_parquet

# Files that tell the classes of the images below their folder, in order of preference.
TABLE_STEMS, TABLE_SUFFIXES = ("metadata", "labels"), (".csv", ".tsv", ".jsonl")
TABLES = tuple(stem + suffix for stem in TABLE_STEMS for suffix in TABLE_SUFFIXES)


@dataclass
class Folder:
    """What a listing says of one folder; only folders that hold something to read are in it.

    `images` counts those that lie in it directly. `tables` and `shards` are the files beside them
    that tell classes without folders.
    """

    images: int = 0
    tables: list[str] = field(default_factory=list)
    shards: list[str] = field(default_factory=list)
    folders: dict[str, "Folder"] = field(default_factory=dict)

    @property
    def is_described(self) -> bool:
        """Says whether a table beside them tells the classes of its images."""
        described = any(name.casefold() == "metadata.parquet" for name in self.shards)
        return bool(self.tables) or (described and self.images > 0)

    @property
    def is_whole(self) -> bool:
        """Says whether it is read without class folders."""
        return bool(self.tables or self.shards)

    @property
    def holds_classes(self) -> bool:
        """Says whether it looks like a split: class folders and nothing beside them."""
        return self.is_whole or bool(self.folders and not self.images)

    def below(self, path: str) -> "Folder":
        """Returns the folder at a path, "" being this one."""
        found = self
        for part in filter(None, path.split("/")):
            found = found.folders[part]
        return found


def listed(paths: Iterable[str]) -> Folder:
    """Returns the tree of a listing: the paths of files, "/" between their parts."""
    root, others = Folder(), Folder()
    for path in paths:
        folder, _, name = path.rpartition("/")
        if name.casefold() in TABLES:
            _made(root, folder).tables.append(name)
            _made(others, folder).tables.append(name)
        elif is_archive(name) or is_parquet(name):
            _made(root, folder).shards.append(name)
        elif is_image(name):
            _made(root, folder).images += 1
        else:
            _made(others, folder).images += 1
    # Images need no suffix; where none has one, whatever there is may be an image.
    found = root if _has_any(root) else others
    _prune(found)
    return found


def _made(root: Folder, path: str) -> Folder:
    for part in filter(None, path.split("/")):
        root = root.folders.setdefault(part, Folder())
    return root


def _has_any(folder: Folder) -> bool:
    return any(one.images or one.shards for one in _every(folder))


def _prune(root: Folder) -> None:
    """Takes away the folders below which there is nothing but tables."""
    for folder in reversed(list(_every(root))):
        for name, inner in list(folder.folders.items()):
            if not (inner.images or inner.shards or inner.folders):
                del folder.folders[name]


def _every(root: Folder) -> Iterator[Folder]:
    """Yields a folder and all below it, each before those that it holds."""
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        yield folder
        waiting.extend(folder.folders.values())
