"""The first images of each class of an augmentation: what a row with fewer of them trains on."""

from collections import Counter
from collections.abc import Iterator

import pyarrow as pa

from gateway.augment.rows import ACCEPTED, to_chunks
from gateway.augment.tables import Manifest
from servicekit.storage import ObjectStore


def write_first(store: ObjectStore, manifest_uri: str, count: int, key: str) -> int:
    """Writes a manifest of the first `count` images of each class under `key`.

    Manifests are in the order of class and index, so of two counts the larger one has all images of
    the smaller. Returns the number of images. Equal manifests give equal bytes.
    """
    whole = Manifest(store, manifest_uri)
    total = 0

    def tables() -> Iterator[pa.Table]:
        nonlocal total
        total, taken = 0, Counter[object]()
        for table in whole.groups():
            kept = []
            for label in table.column("label").to_pylist():
                taken[label] += 1
                kept.append(taken[label] <= count)
            total += sum(kept)
            yield table.filter(pa.array(kept, pa.bool_())).cast(ACCEPTED)

    store.put_chunks(key, lambda: to_chunks(tables(), ACCEPTED))
    return total
