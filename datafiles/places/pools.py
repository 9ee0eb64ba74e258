"""Puts pools of this machine into the object store, where the retriever reads them."""

import hashlib
import io
import tarfile
from collections.abc import Iterable, Iterator

from datafiles.places.archive_place import check_unpacked
from datafiles.places.place import Place
from datafiles.rejected import RejectedFile
from datafiles.shards import describes_shard, shards_among
from datafiles.suffixes import ARCHIVE, TABLE, is_archive, is_table, kind_of
from imaging.decode import ImageRejected
from servicekit.errors import InvalidArgument
from servicekit.storage import ObjectStore, to_uri

# Bytes of loose files in one archive: what is held in memory.
_ARCHIVE_BYTES = 64 * 1024 * 1024


def store_pool(store: ObjectStore, place: Place, field: str) -> str:
    """Copies a .parquet or .tar file, or a folder of them and of images, and returns its URI.

    Loose images are packed into archives with the texts beside them and the names of their folders,
    which may be any. Equal pools get the same URI and are stored once. Raises InvalidArgument
    naming `field` if there is nothing to use or something cannot be read.
    """
    check_unpacked(place, field)
    try:
        if is_archive(place.uri) or is_table(place.uri):
            with place.open() as file:
                data = file.read()
            if is_table(place.uri) and data[:4] != b"PAR1":
                raise InvalidArgument(
                    f"{place.uri} is not a parquet file", field=field, reason="POOL_UNREADABLE"
                )
            key = f"pools/{hashlib.sha256(data).hexdigest()}.{_suffix(place.uri)}"
            store.put(key, data)
            return to_uri(key)
        # Twice, so that the name tells the content and nothing is held.
        names = [hashlib.sha256(data).hexdigest() for _, data in _pieces(place, field)]
        prefix = f"pools/{hashlib.sha256(chr(10).join(names).encode()).hexdigest()}"
        for number, (suffix, data) in enumerate(_pieces(place, field)):
            store.put(f"{prefix}/{number:05d}.{suffix}", data)
    except (OSError, ImageRejected) as error:
        raise InvalidArgument(
            f"{place.uri} cannot be read: {error}", field=field, reason="POOL_UNREADABLE"
        ) from error
    if not names:
        raise InvalidArgument(
            f"{place.uri} holds no image, .tar or .parquet file; give a folder that does, or one "
            "such file",
            field=field,
            reason="POOL_UNREADABLE",
        )
    return to_uri(prefix)


def _pieces(place: Place, field: str) -> Iterator[tuple[str, bytes]]:
    """Yields suffix and bytes of each shard of a folder, in one order."""
    paths: list[str] = []
    for found in place.files():
        if isinstance(found, RejectedFile):
            raise InvalidArgument(
                f"{found.message}; or take it out of the pool",
                field=field,
                reason="POOL_UNREADABLE",
            )
        paths.append(found)
    shards = shards_among(paths)
    for path in shards:
        with place.open(path) as file:
            yield _suffix(path), file.read()
    known = set(shards)
    loose = [path for path in paths if path not in known and not describes_shard(path)]
    if any(kind_of(path.rpartition(".")[2]) == "image" for path in loose):
        yield from ((ARCHIVE, data) for data in _packed(place, loose))


def _packed(place: Place, paths: Iterable[str]) -> Iterator[bytes]:
    """Yields archives of files; those of one folder and stem stay together."""
    buffer, stem = io.BytesIO(), ""
    tar = tarfile.open(fileobj=buffer, mode="w")  # noqa: SIM115
    for path in sorted(paths):
        if buffer.tell() > _ARCHIVE_BYTES and path.split(".")[0] != stem:
            tar.close()
            yield buffer.getvalue()
            buffer = io.BytesIO()
            tar = tarfile.open(fileobj=buffer, mode="w")  # noqa: SIM115
        data, member = place.read(path), tarfile.TarInfo(path)
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
        stem = path.split(".")[0]
    tar.close()
    yield buffer.getvalue()


def _suffix(name: str) -> str:
    return ARCHIVE if is_archive(name) else TABLE
