"""Which files of a place are shards: archives and tables of images, read as a whole."""

from collections.abc import Sequence

from datafiles.ignored import is_ignored_path
from datafiles.suffixes import ARCHIVE, TABLE, is_archive, is_table

_MANIFEST = "manifest"  # and the suffix of a table


def shards_among(paths: Sequence[str]) -> list[str]:
    """Returns the tar archives and parquet files among paths, in their order.

    A parquet file that describes an archive or a folder of the same name, as img2dataset writes
    it, is none, nor is the manifest of archives that variegate wrote.
    """
    archives = [path for path in paths if is_archive(path)]
    described = {_stem(path, ARCHIVE) for path in archives}
    described |= {_join(path.rpartition("/")[0], _MANIFEST) for path in archives}
    described |= {path.rpartition("/")[0] for path in paths}
    return [
        path
        for path in paths
        if not is_ignored_path(path)
        and (is_archive(path) or (is_table(path) and _stem(path, TABLE) not in described))
    ]


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def describes_shard(path: str) -> bool:
    """Says whether a file tells of shards and holds no image, as img2dataset's do: a table that is
    none of `shards_among`, or 00000_stats.json.
    """
    return is_table(path) or path.lower().endswith("_stats.json")


def _stem(path: str, suffix: str) -> str:
    return path[: -len(suffix) - 1]
