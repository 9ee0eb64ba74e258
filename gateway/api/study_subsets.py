"""Whether the datasets of a study's seeds are draws of the same images, which can be compared."""

from gateway.api.catalog import Catalog
from gateway.api.resources import Dataset, Study
from gateway.augment.tables import Manifest
from servicekit.errors import InvalidArgument
from servicekit.storage import ObjectStore

_TEST = "test"


def check_subsets(store: ObjectStore, catalog: Catalog, study: Study, dataset: Dataset) -> None:
    """Raises InvalidArgument unless all have the classes, counts and test images of `dataset`.

    Raises NotFound for one that is not there. Reads the store.
    """
    names = study.seed_datasets
    if not names:
        return
    if len(names) != len(study.seeds):
        raise _wrong(
            f"there are {len(names)} datasets for {len(study.seeds)} seeds; give one for each, or "
            "none"
        )
    if names[0] != dataset.name:
        raise _wrong(
            f"the first is {names[0]}, and the study's dataset {dataset.name}; they must be one"
        )
    tested = None
    for name in dict.fromkeys(names[1:]):
        other = catalog.dataset(name)
        if _counts(other) != _counts(dataset):
            raise _wrong(
                f"{name} has other classes or numbers of images than {dataset.name}; draw all by "
                "the same protocol, with other seeds"
            )
        tested = tested or _tested(store, dataset)
        if _tested(store, other) != tested:
            raise _wrong(
                f"{name} has other test images than {dataset.name}, so that their accuracies are "
                "of different things; import all with the same test_uri"
            )


def _counts(dataset: Dataset) -> list[tuple[object, ...]]:
    return [
        (
            one.class_name,
            one.label,
            one.called,
            one.train_count,
            one.test_count,
            one.validation_count,
        )
        for one in dataset.classes
    ]


def _tested(store: ObjectStore, dataset: Dataset) -> set[str]:
    """The ids of the test images."""
    found: set[str] = set()
    for group in Manifest(store, dataset.manifest_uri).groups("item_id", "split"):
        rows = group.to_pylist()
        found.update(row["item_id"] for row in rows if row["split"] == _TEST)
    return found


def _wrong(why: str) -> InvalidArgument:
    return InvalidArgument(why, field="study.seed_datasets", reason="SUBSETS_DIFFER")
