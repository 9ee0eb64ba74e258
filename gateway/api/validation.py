"""What must hold before work starts: everything that can be known is checked here."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace

from datafiles.places.layout import TRAIN
from datafiles.places.place import locate
from datafiles.places.pools import store_pool
from gateway.api.arm_checks import checked_arms
from gateway.api.catalog import Catalog
from gateway.api.planned_trainings import StudyPlan, check_rows, plan_trainings
from gateway.api.recipe_checks import check_guidance, check_keep, check_no_pool, check_pins
from gateway.api.resources import Augmentation, Dataset, DatasetSource, Recipe, Study
from gateway.api.selection_checks import check_selections
from gateway.api.study_subsets import check_subsets
from gateway.augment.rejections import read_rejections
from gateway.augment.used_models import methods_of, used_models
from gateway.augment.wanted import check_counts
from gateway.clients import Clients
from gateway.datasets import manifest
from gateway.methods.composition import parts_of
from gateway.settings import GatewaySettings
from gateway.study.study_rows import test_sets_of
from servicekit.errors import InvalidArgument, Precondition
from servicekit.storage import ObjectStore, to_key


class Validator:
    """Checks requests against methods, datasets, pools and the trainer's recipes."""

    def __init__(
        self, store: ObjectStore, catalog: Catalog, clients: Clients, settings: GatewaySettings
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._clients = clients
        self._settings = settings

    def source(self, source: DatasetSource) -> None:
        """Raises InvalidArgument for a place that cannot be imported."""
        for field, uri in (("train_uri", source.train_uri), ("test_uri", source.test_uri)):
            if uri:
                roots = self._settings.import_roots
                locate(uri, store=self._store, roots=roots, field=f"source.{field}")

    async def augmentation(self, augmentation: Augmentation) -> Augmentation:
        """Returns the augmentation with its pool in the store, and its models."""
        recipe = augmentation.recipe
        parts = parts_of(recipe.method, recipe.parameters)
        for part in parts:
            check_guidance(part.method, recipe)
        check_keep(recipe)
        dataset = await asyncio.to_thread(self._catalog.dataset, augmentation.dataset)
        _check_classes(recipe, dataset)
        check_pins(parts, dataset)
        await asyncio.to_thread(self._check_parents, recipe, dataset)
        await asyncio.to_thread(check_counts, self._store, dataset, recipe)
        field = "augmentation.rejections_uri"
        await asyncio.to_thread(read_rejections, self._store, recipe.rejections_uri, field)
        pool_uri = await self._pool(recipe.pool_uri, "augmentation.pool_uri")
        if not pool_uri:
            check_no_pool(parts, "augmentation.pool_uri")
        models = await self.models([recipe.method], deterministic=recipe.deterministic)
        return replace(augmentation, recipe=replace(recipe, pool_uri=pool_uri), models=models)

    async def study(self, study: Study) -> tuple[Study, StudyPlan]:
        """Returns the study with its pool in the store and its models, and the plan of its
        classifiers."""
        dataset = await asyncio.to_thread(self._catalog.dataset, study.dataset)
        if not any(one.test_count for one in dataset.classes):
            raise Precondition(
                f"{dataset.name} has no test images, which a study needs; import it with test_uri",
                subject=dataset.name,
                reason="NO_TEST_SPLIT",
            )
        pool_uri = await self._pool(study.pool_uri, "study.pool_uri")
        study = await asyncio.to_thread(checked_arms, self._store, study, dataset, pool_uri)
        check_rows(study)
        check_selections(study, dataset)
        _check_pool_names(study, dataset)
        await asyncio.to_thread(check_subsets, self._store, self._catalog, study, dataset)
        test_sets = await asyncio.to_thread(test_sets_of, self._catalog, study)
        plans = await plan_trainings(self._clients.trainer, study, dataset, test_sets)
        methods = sorted(set(methods_of(study)))
        models = await self.models(methods, deterministic=study.deterministic, trains=True)
        return replace(study, pool_uri=pool_uri, models=models), plans

    async def models(
        self, methods: Iterable[str], *, deterministic: bool, trains: bool = False
    ) -> dict[str, str]:
        """Returns the models that methods would use now. Raises Precondition for a missing one."""
        return await used_models(
            self._clients, self._settings, methods, deterministic=deterministic, trains=trains
        )

    def _check_parents(self, recipe: Recipe, dataset: Dataset) -> None:
        if not recipe.train_item_ids:
            return
        items = manifest.read(self._store.get(to_key(dataset.manifest_uri)))
        splits = {item.item_id: item.split for item in items}
        for item_id in recipe.train_item_ids:
            split = splits.get(item_id)
            if split == TRAIN:
                continue
            what = f"is an image of the split {split!r}" if split else "is not in the dataset"
            raise InvalidArgument(
                f"the item {item_id!r} {what}; only training images of {dataset.name} may be "
                "parents",
                field="augmentation.train_item_ids",
                reason="NOT_A_TRAINING_ITEM",
            )

    async def _pool(self, uri: str, field: str) -> str:
        """Returns the store URI of a pool, object or prefix; a file is copied into the store."""
        if not uri:
            return ""
        if uri.startswith("store:"):
            await asyncio.to_thread(self._check_pool, uri, field)
            return uri
        return await asyncio.to_thread(self._copy_pool, uri, field)

    def _check_pool(self, uri: str, field: str) -> None:
        key = to_key(uri, field)
        if self._store.exists(key) or any(self._store.list(key.rstrip("/") + "/")):
            return
        raise InvalidArgument(
            f"there is no pool {uri} in the store, nor an object below it; check the key",
            field=field,
            reason="POOL_MISSING",
        )

    def _copy_pool(self, uri: str, field: str) -> str:
        place = locate(uri, store=self._store, roots=self._settings.import_roots, field=field)
        return store_pool(self._store, place, field)


def _check_classes(recipe: Recipe, dataset: Dataset) -> None:
    known = [one.class_name for one in dataset.classes]
    for name in recipe.class_names:
        if name not in known:
            raise InvalidArgument(
                f"{dataset.name} has no class {name!r}; it has {', '.join(known[:50])}",
                field="augmentation.class_names",
                reason="UNKNOWN_CLASS",
            )


def _check_pool_names(study: Study, dataset: Dataset) -> None:
    named, field = study.pool_class_names, "study.pool_class_names"
    if named and not study.pool_uri:
        raise InvalidArgument(
            "pool_class_names is set but there is no pool; give pool_uri",
            field=field,
            reason="POOL_REQUIRED",
        )
    if named and not {one.class_name for one in dataset.classes} & {*named.values()}:
        classes = ", ".join(repr(one.class_name) for one in dataset.classes[:3])
        raise InvalidArgument(
            f"none of the pool's {len(named)} named classes is one of the dataset's ({classes}, "
            "...); use the dataset's own names",
            field=field,
            reason="UNKNOWN_CLASS",
        )
