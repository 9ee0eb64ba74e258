"""Imports what a test has made, without a gateway."""

from gateway.api.resources import Dataset, DatasetSource
from gateway.datasets import manifest
from gateway.datasets.importer import import_dataset
from servicekit.storage import MemoryStore, to_key


def take(train, test=None, *, root, store=None, **options):
    store = store or MemoryStore()
    uris = [str(one) if str(one).startswith(("store:", "file:")) else f"file://{one}"
            for one in (train, test) if one]  # fmt: skip
    source = DatasetSource(uris[0], *uris[1:], **options)
    dataset = import_dataset(
        Dataset("datasets/d", source), store=store, roots=(str(root),), report=lambda *_: None
    )
    items = manifest.read(store.get(to_key(dataset.manifest_uri)))
    return dataset, items, store


def reasons(dataset):
    return {file.path: file.reason for file in dataset.rejected_files}
