"""Image files in the object store, with captions and the like beside them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from datafiles.rejected import RejectedFile
from datafiles.samples import Member, Sample, samples
from datafiles.texts import Unreadable, check_size
from retriever.pool.base import PoolRow
from retriever.pool.samples import folder_of, rows_of
from servicekit.errors import NotFound
from servicekit.storage import ObjectStore, to_uri

# Of sorted names, samples that may wait for a file of theirs.
_HELD = 1_000


@dataclass(frozen=True)
class FilesShard:
    """Some of the files under a prefix; images stay where they are."""

    uri: str
    identity: str
    size: int
    prefix: str
    keys: tuple[str, ...]

    def read(self, store: ObjectStore) -> tuple[int, Iterator[PoolRow | RejectedFile]]:
        found = list(loose_samples(self.keys))
        rows = (row for sample in found for row in self._rows(store, sample))
        return sum(sample.image is not None for sample in found), rows

    def _rows(self, store: ObjectStore, sample: Sample[str]) -> Iterator[PoolRow | RejectedFile]:
        def read(member: Member[str]) -> bytes:
            try:
                check_size(store.size(member.where))
                return store.get(member.where)
            except NotFound as error:
                raise Unreadable("MISSING", "is no longer in the store") from error

        folder = folder_of(sample.name.removeprefix(to_uri(self.prefix.rstrip("/")) + "/"))
        image_uri = sample.image.name if sample.image else ""
        return rows_of(sample, read, folder, image_uri=image_uri)


def loose_samples(keys: Iterable[str]) -> Iterator[Sample[str]]:
    """Yields the samples of loose files; `where` is the key."""
    return samples((Member(to_uri(key), key) for key in keys), most_held=_HELD)


def keys_of(sample: Sample[str]) -> Sequence[str]:
    """Returns the keys of a sample's files."""
    return [member.where for found in sample.files.values() for _, member in found]
