"""WebDataset: tar archives of samples."""

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass

from retriever.pool.base import PoolRow, ShardBroken
from retriever.pool.samples import folder_of, image_of, samples, to_row
from servicekit.storage import ObjectStore, to_key

_END = bytes(tarfile.BLOCKSIZE)


@dataclass(frozen=True)
class TarShard:
    """One tar archive, whole in memory while it is read, never unpacked."""

    uri: str
    identity: str
    size: int

    def read(self, store: ObjectStore) -> tuple[int, Iterator[PoolRow]]:
        data = store.get(to_key(self.uri))
        try:
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                # All headers first, so that an archive that was cut off is noticed at once: tarfile
                # is content when it ends within a header, a whole one ends with zeros.
                members = {one.name: one for one in archive.getmembers() if one.isreg()}
                if data[archive.offset : archive.offset + tarfile.BLOCKSIZE] != _END:
                    raise tarfile.ReadError("unexpected end of data")
        except (tarfile.TarError, EOFError, OSError) as error:
            raise ShardBroken("NOT_TAR", f"{self.uri} is not a whole tar: {error}") from error

        def read(name: str) -> bytes:
            start = members[name].offset_data
            return data[start : start + members[name].size]

        found = list(samples(members))
        rows = (to_row(files, read, folder=folder_of(image_of(files))) for files in found)
        return len(found), rows
