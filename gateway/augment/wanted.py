"""How many images of each class an augmentation is to make, before anything else is known."""

from collections import Counter

from datafiles.places.layout import TRAIN
from gateway.api.resources import Dataset, Recipe
from gateway.datasets import manifest
from servicekit.errors import InvalidArgument
from servicekit.storage import ObjectStore, to_key

_SHOWN = 5


def wanted_counts(
    store: ObjectStore, dataset: Dataset, recipe: Recipe
) -> dict[str, tuple[int, int]]:
    """Returns the images to make of each class of the recipe, in all and now; reads the store."""
    real = _real_counts(store, dataset, recipe)
    return {
        one.class_name: (
            recipe.count_of(one.class_name, real[one.class_name]),
            recipe.wanted_of(one.class_name, real[one.class_name]),
        )
        for one in dataset.classes
        if not recipe.class_names or one.class_name in recipe.class_names
    }


def check_counts(store: ObjectStore, dataset: Dataset, recipe: Recipe) -> None:
    """Raises InvalidArgument if counts are of classes that are not made, or nothing is wanted."""
    made = set(recipe.class_names or (one.class_name for one in dataset.classes))
    if strangers := sorted(set(recipe.class_counts) - made):
        shown = ", ".join(map(repr, strangers[:_SHOWN])) + ", ..." * (len(strangers) > _SHOWN)
        where = "class_names" if recipe.class_names else dataset.name
        raise InvalidArgument(
            f"class_counts has {shown}, which {where} has not; it has "
            f"{', '.join(sorted(made)[:_SHOWN])}{', ...' * (len(made) > _SHOWN)}",
            field="augmentation.class_counts",
            reason="UNKNOWN_CLASS",
        )
    if any(now for _, now in wanted_counts(store, dataset, recipe).values()):
        return
    if recipe.fill_up:
        raise InvalidArgument(
            f"every class has {recipe.images_per_class} training images or what class_counts says, "
            "and there is nothing to fill up; ask for more",
            field="augmentation.images_per_class",
            reason="NOTHING_TO_FILL",
        )
    raise InvalidArgument(
        "class_counts asks for 0 images of every class; ask for some",
        field="augmentation.class_counts",
        reason="NOTHING_WANTED",
    )


def _real_counts(store: ObjectStore, dataset: Dataset, recipe: Recipe) -> Counter[str]:
    """Returns how many training images may be parents, by class."""
    if not recipe.train_item_ids or not recipe.fill_up:
        return Counter({one.class_name: one.train_count for one in dataset.classes})
    declared = set(recipe.train_item_ids)
    items = manifest.read(store.get(to_key(dataset.manifest_uri)))
    return Counter(i.class_name for i in items if i.split == TRAIN and i.item_id in declared)
