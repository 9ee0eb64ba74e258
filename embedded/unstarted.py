"""What is known of the system before it starts: its methods, and what its state folder keeps."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.api.catalog import Catalog
from gateway.api.messages import method_to_pb
from gateway.methods.registry import all_methods
from servicekit.storage import DirectoryStore


@dataclass(frozen=True)
class StoredResource:
    """A dataset, augmentation or study by its name. `dataset` is that of the others; "" if unknown.

    It is finished once all that it is made of is in the store.
    """

    name: str
    dataset: str
    is_finished: bool


def methods() -> list[pb.Method]:
    """Returns the methods of this installation, as ListMethods does."""
    return [method_to_pb(method) for method in all_methods().values()]


def networks() -> list[str]:
    """Returns the networks of timm that this installation's trainer can build, as ListRecipes
    does."""
    from trainer.classifiers.timm_table import timm_networks

    return sorted(timm_networks())


def resources(state: Path) -> Iterator[StoredResource]:
    """Yields what was ever asked for in a state folder, sorted by kind and name."""
    catalog = Catalog(DirectoryStore(state / "objects"))
    for name in catalog.every_name():
        yield StoredResource(name, _dataset_of(catalog, name), catalog.finished(name) is not None)


def _dataset_of(catalog: Catalog, name: str) -> str:
    if name.startswith("studies/"):
        return str(getattr(catalog.requested(name), "dataset", ""))
    return name.partition("/augmentations/")[0]
