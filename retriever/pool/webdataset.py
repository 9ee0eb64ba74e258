"""WebDataset: tar archives of samples."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from datafiles.archives import Archive, Span
from datafiles.rejected import RejectedFile
from datafiles.samples import Member, samples
from datafiles.suffixes import kind_of, split_name
from datafiles.texts import check_size
from retriever.pool.base import PoolRow, ShardBroken
from retriever.pool.samples import folder_of, rows_of
from servicekit.storage import ObjectStore, to_key


@dataclass(frozen=True)
class TarShard:
    """One tar archive, whole in memory while it is read, never unpacked."""

    uri: str
    identity: str
    size: int

    def read(self, store: ObjectStore) -> tuple[int, Iterator[PoolRow | RejectedFile]]:
        archive = Archive(io.BytesIO(store.get(to_key(self.uri))), f"{self.uri}/")
        # All headers first, so that an archive that was cut off is noticed at once.
        found = list(samples(archive))
        if archive.damage is not None:
            why = f"is not a whole tar: {archive.damage}"
            message = f"{self.uri} {archive.packing or why}"
            raise ShardBroken("NOT_TAR", message) from archive.damage

        def read(member: Member[Span]) -> bytes:
            if kind_of(split_name(member.name)[1]) != "image":
                check_size(member.where.size)
            return archive.read(member)

        rows = (
            row
            for sample in found
            for row in rows_of(sample, read, folder_of(sample.name.removeprefix(f"{self.uri}/")))
        )
        return sum(sample.image is not None for sample in found), chain(archive.left_out, rows)
