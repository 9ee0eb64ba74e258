"""What is known of the system before it starts: its methods, and what its state folder keeps."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.api.catalog import Catalog
from gateway.api.messages import method_to_pb
from gateway.api.resources import Study
from gateway.methods.registry import all_methods
from servicekit.storage import DirectoryStore


@dataclass(frozen=True)
class StoredResource:
    """A dataset, augmentation or study by its name. `datasets` are those that the others need, also
    to be tested on.

    It is finished once all that it is made of is in the store.
    """

    name: str
    datasets: frozenset[str]
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
        yield StoredResource(name, _datasets_of(catalog, name), catalog.finished(name) is not None)


def _datasets_of(catalog: Catalog, name: str) -> frozenset[str]:
    if not name.startswith("studies/"):
        return frozenset({name.partition("/augmentations/")[0]})
    study = catalog.requested(name)
    if not isinstance(study, Study):
        return frozenset()
    tested = (one.dataset for one in study.test_sets)
    return frozenset({study.dataset, *study.seed_datasets, *tested})
