"""Pools of images: one small file per form, and the one place that tells them apart."""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256

from datafiles.ignored import is_ignored_path
from datafiles.rejected import RejectedFile
from datafiles.shards import describes_shard, shards_among
from datafiles.suffixes import is_archive
from retriever.pool.base import Pool, PoolRow, Shard, ShardBroken, bad_pool
from retriever.pool.files import FilesShard, keys_of, loose_samples
from retriever.pool.parquet import ParquetShard
from retriever.pool.webdataset import TarShard
from servicekit.errors import InvalidArgument, NotFound
from servicekit.storage import ObjectStore, to_key, to_uri

__all__ = ["Pool", "PoolRow", "Shard", "ShardBroken", "bad_pool", "open_pool"]

# Samples in one shard of loose files.
_FILES = 1_000


def open_pool(store: ObjectStore, uri: str) -> Pool:
    """Returns the pool: a parquet file, a tar archive, or all there is under a prefix.

    Under a prefix tar archives and parquet files are shards, and so are loose images, by the
    thousand; a parquet file that describes an archive or a folder of the same name, as img2dataset
    writes it, is not. Raises InvalidArgument naming `pool_uri` if there is nothing to use, and
    NotFound if there is nothing at all. What is inside is looked at later.
    """
    key = to_key(uri.rstrip("/"), "pool_uri")
    if store.exists(key):
        return Pool(uri, (_shard(store, key),))
    prefix = f"{key}/"
    keys = list(store.list(prefix))
    if not keys:
        raise NotFound(
            f"the pool {uri} does not exist: there is no such object, and none under {prefix}",
            resource=uri,
        )
    shards = [prefix + path for path in shards_among([one.removeprefix(prefix) for one in keys])]
    left_out: list[RejectedFile] = []
    loose = _loose(prefix, _usable(prefix, keys, shards, left_out), left_out)
    found = (*(_shard(store, one) for one in shards), *loose)
    if not found:
        raise bad_pool(
            f"under {uri} there are {len(keys)} objects, but no parquet file, tar archive or image",
            "EMPTY_POOL",
        )
    return Pool(uri, found, tuple(left_out))


def _shard(store: ObjectStore, key: str) -> Shard:
    uri, size = to_uri(key), store.size(key)
    if is_archive(key):
        return TarShard(uri, f"{key} {size}", size)
    return ParquetShard(uri, f"{key} {size}", size)


def _usable(
    prefix: str, keys: Iterable[str], shards: Sequence[str], left_out: list[RejectedFile]
) -> Iterator[str]:
    """Yields the keys of loose files; what cannot be one is added to `left_out`, or known."""
    known = set(shards)
    for key in keys:
        path = key.removeprefix(prefix)
        if key in known or is_ignored_path(path) or describes_shard(path):
            continue
        try:
            to_uri(key)
        except InvalidArgument as error:  # Others may have put it there.
            left_out.append(RejectedFile(key, error.reason, error.message))
        else:
            yield key


def _loose(prefix: str, keys: Iterable[str], left_out: list[RejectedFile]) -> Iterator[Shard]:
    found: list[tuple[str, ...]] = []
    for sample in loose_samples(keys):
        if sample.image is None and not sample.left_out:
            left_out.append(sample.why_without_image())
        else:
            found.append(tuple(keys_of(sample)))
        if len(found) == _FILES:
            yield _files(prefix, found)
            found = []
    if found:
        yield _files(prefix, found)


def _files(prefix: str, found: Sequence[Sequence[str]]) -> Shard:
    taken = tuple(key for files in found for key in files)
    digest = sha256("\n".join(taken).encode()).hexdigest()
    return FilesShard(to_uri(taken[0]), digest, len(taken), prefix, taken)
