"""What must hold before work starts: everything that can be known is checked here."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace

from datafiles.places.layout import TRAIN
from datafiles.places.place import locate
from datafiles.places.pools import store_pool
from gateway.api.catalog import Catalog
from gateway.api.planned_trainings import check_rows, plan_trainings
from gateway.api.resources import Augmentation, Dataset, DatasetSource, Recipe, Study, StudyArm
from gateway.augment.choice import SCORES
from gateway.augment.rejections import read_rejections
from gateway.augment.senses import parse_pins
from gateway.augment.used_models import used_models
from gateway.augment.wanted import check_counts
from gateway.clients import Clients
from gateway.clients.trainer import TrainingPlan
from gateway.datasets import manifest
from gateway.methods.base import Method
from gateway.methods.composition import Part, parts_of
from gateway.settings import GatewaySettings
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
            _check_guidance(part.method, recipe)
        _check_keep(recipe)
        dataset = await asyncio.to_thread(self._catalog.dataset, augmentation.dataset)
        _check_classes(recipe, dataset)
        _check_pins(parts, dataset)
        await asyncio.to_thread(self._check_parents, recipe, dataset)
        await asyncio.to_thread(check_counts, self._store, dataset, recipe)
        field = "augmentation.rejections_uri"
        await asyncio.to_thread(read_rejections, self._store, recipe.rejections_uri, field)
        pool_uri = await self._pool(recipe.pool_uri, "augmentation.pool_uri")
        if not pool_uri:
            _check_no_pool(parts, "augmentation.pool_uri")
        models = await self.models([recipe.method], deterministic=recipe.deterministic)
        return replace(augmentation, recipe=replace(recipe, pool_uri=pool_uri), models=models)

    async def study(self, study: Study) -> tuple[Study, list[tuple[TrainingPlan, int]]]:
        """Returns the study with its pool in the store and its models, and the plans of its
        classifiers with how many there are of each."""
        dataset = await asyncio.to_thread(self._catalog.dataset, study.dataset)
        if not any(one.test_count for one in dataset.classes):
            raise Precondition(
                f"{dataset.name} has no test images, which a study needs; import it with test_uri",
                subject=dataset.name,
                reason="NO_TEST_SPLIT",
            )
        pool_uri = await self._pool(study.pool_uri, "study.pool_uri")
        for number, arm in enumerate(study.arms):
            _check_arm(arm, number, pool_uri, dataset)
        check_rows(study)
        _check_pool_names(study, dataset)
        plans = await plan_trainings(self._clients.trainer, study, dataset)
        methods = sorted({arm.method for arm in study.arms})
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


def _check_keep(recipe: Recipe) -> None:
    factor, keep, field, why = recipe.make_factor, recipe.keep, "keep", ""
    if keep and keep not in SCORES:
        why = f"there is no score {keep!r} to keep images by; there are {', '.join(SCORES)}"
    elif bool(keep) != bool(factor) or 0 < factor < 1:
        field = "make_factor"
        why = f"make_factor is {factor:g} and keep is {keep!r}; give both, make_factor from 1 to 20"
    elif keep == "unsafe_score" and not recipe.check_safety:
        why = "without check_safety no image has an unsafe_score; set it, or keep by clip_score"
    if why:
        raise InvalidArgument(why, field=f"augmentation.{field}", reason="BAD_CHOICE")


def _check_guidance(method: Method, recipe: Recipe) -> None:
    if method.needs.no_guidance and (recipe.guidance_scale or 0) > 1:
        raise InvalidArgument(
            f"{method.id} denoises without a prompt, so there is nothing to guide by, and "
            f"guidance_scale is {recipe.guidance_scale:g}; leave it out",
            field="augmentation.guidance_scale",
            reason="NO_GUIDANCE",
        )
    scale = recipe.guidance_scale
    if not recipe.negative_prompt:
        return
    why = ""
    if not method.model:
        why = f"{method.id} makes no images"
    elif method.needs.no_guidance:
        why = f"{method.id} denoises without guidance"
    elif scale is not None and scale <= 1:
        why = f"with guidance_scale {scale:g} there is no guidance"
    if why:
        raise InvalidArgument(
            f"negative_prompt has no effect, since {why}; leave it out",
            field="augmentation.negative_prompt",
            reason="NO_GUIDANCE",
        )


def _check_arm(arm: StudyArm, number: int, pool_uri: str, dataset: Dataset) -> None:
    """Checks one arm; errors name it by its number."""
    try:
        parts = parts_of(arm.method, arm.parameters)
        _check_pins(parts, dataset)
    except InvalidArgument as error:
        field = error.field.replace("augmentation", f"study.arms[{number}]")
        raise InvalidArgument(error.message, field=field, reason=error.reason) from error
    if not pool_uri:
        _check_no_pool(parts, "study.pool_uri")


def _check_pins(parts: Iterable[Part], dataset: Dataset) -> None:
    for part in parts:
        pins = str(part.values.get("senses", ""))
        parse_pins(pins, [one.class_name for one in dataset.classes])


def _check_no_pool(parts: Iterable[Part], field: str) -> None:
    """Raises InvalidArgument if a method needs a pool."""
    for part in parts:
        if part.method.needs.pool:
            raise InvalidArgument(
                f"{part.method.id} searches a pool of images; give pool_uri",
                field=field,
                reason="POOL_REQUIRED",
            )
