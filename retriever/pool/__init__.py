"""Pools of images: one small file per form, and the one place that tells them apart."""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256

from retriever.pool.base import Pool, PoolRow, Shard, ShardBroken, bad_pool
from retriever.pool.files import FilesShard
from retriever.pool.parquet import ParquetShard
from retriever.pool.samples import samples
from retriever.pool.webdataset import TarShard
from servicekit.errors import NotFound
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
    keys = list(store.list(f"{key}/"))
    if not keys:
        raise NotFound(
            f"the pool {uri} does not exist: there is no such object, and none under {key}/",
            resource=uri,
        )
    found = tuple(_shards_under(store, f"{key}/", keys))
    if not found:
        raise bad_pool(
            f"under {uri} there are {len(keys)} objects, but no parquet file, tar archive or image",
            "EMPTY_POOL",
        )
    return Pool(uri, found)


def _shards_under(store: ObjectStore, prefix: str, keys: Sequence[str]) -> Iterator[Shard]:
    stems = {key.removesuffix(".tar") for key in keys if key.endswith(".tar")}
    folders = {key.rpartition("/")[0] for key in keys}
    loose = []
    for key in keys:
        if key.endswith(".parquet"):
            if key.removesuffix(".parquet") not in stems | folders:
                yield _shard(store, key)
        elif key.endswith(".tar"):
            yield _shard(store, key)
        else:
            loose.append(key)
    yield from _loose(prefix, loose)


def _shard(store: ObjectStore, key: str) -> Shard:
    uri, size = to_uri(key), store.size(key)
    if key.endswith(".tar"):
        return TarShard(uri, f"{key} {size}", size)
    return ParquetShard(uri, f"{key} {size}", size)


def _loose(prefix: str, keys: Iterable[str]) -> Iterator[Shard]:
    found = [tuple(files.values()) for files in samples(keys)]
    for start in range(0, len(found), _FILES):
        taken = tuple(key for files in found[start : start + _FILES] for key in files)
        digest = sha256("\n".join(taken).encode()).hexdigest()
        yield FilesShard(to_uri(taken[0]), digest, len(taken), prefix, taken)
