"""Image files in the object store, with captions and the like beside them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from retriever.pool.base import PoolRow
from retriever.pool.samples import folder_of, image_of, samples, to_row
from servicekit.storage import ObjectStore, to_uri


@dataclass(frozen=True)
class FilesShard:
    """Some of the files under a prefix; images stay where they are."""

    uri: str
    identity: str
    size: int
    prefix: str
    keys: tuple[str, ...]

    def read(self, store: ObjectStore) -> tuple[int, Iterator[PoolRow]]:
        found = list(samples(self.keys))
        return len(found), (self._row(store, files) for files in found)

    def _row(self, store: ObjectStore, files: Mapping[str, str]) -> PoolRow:
        image = image_of(files)
        folder = folder_of(image.removeprefix(self.prefix))
        return to_row(files, store.get, image_uri=to_uri(image), folder=folder)
