"""What a method needs to know about each class before it can draft: captions, prompts, shapes."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from datafiles.places.layout import TRAIN
from gateway.api.resources import Dataset
from gateway.augment.captions import caption
from gateway.augment.fitting import size_notice, with_short_names
from gateway.augment.prompting import with_prompts
from gateway.augment.tuning import with_learned
from gateway.context import Context
from gateway.datasets import manifest
from gateway.datasets.manifest import DatasetItem
from gateway.durable.progress import WorkProgress
from gateway.methods.artefacts import CLASS
from gateway.methods.base import ClassMaterial
from gateway.plan import GeneratorModel, Plan
from servicekit.storage import to_key


async def collect(
    context: Context,
    dataset: Dataset,
    plan: Plan,
    model: GeneratorModel | None,
    progress: WorkProgress,
) -> dict[str, ClassMaterial]:
    """Returns what is known about every class to augment, by class name."""
    data = await asyncio.to_thread(context.store.get, to_key(dataset.manifest_uri))
    items = await asyncio.to_thread(manifest.read, data)
    materials = await asyncio.to_thread(classes_of, dataset, plan, items)
    if model is not None:
        shapes: dict[str, Any] = {
            "text_shape": model.text_shape,
            "image_dimension": model.image_dimension,
        }
        materials = {name: replace(m, **shapes) for name, m in materials.items()}
        if text := await asyncio.to_thread(size_notice, model, materials):
            progress.notice(f"warning: {text}")
        materials = await with_short_names(context, model, materials, progress)
    if plan.method.needs.captions:
        materials = await _with_captions(context, materials, progress)
    if plan.method.needs.prompt_strategy:
        called = {one.class_name: one.called for one in dataset.classes}
        called |= {name: material.display_name for name, material in materials.items()}
        if plan.method.needs.tuning:  # Templates, into which the class comes later.
            called = dict.fromkeys(called, CLASS)
        materials = await with_prompts(context, plan, materials, called, progress)
    if plan.method.needs.tuning and model is not None:
        uri = dataset.manifest_uri
        materials = await with_learned(context, plan, model, uri, materials, progress)
    return materials


def classes_of(
    dataset: Dataset, plan: Plan, items: Sequence[DatasetItem]
) -> dict[str, ClassMaterial]:
    """Returns the classes to augment with their possible parents, those of which some are wanted of
    the plan's method.

    Parents are training items only, and only the declared ones if any are declared.
    """
    recipe = plan.recipe
    declared = set(recipe.train_item_ids)
    parents: dict[str, list[DatasetItem]] = defaultdict(list)
    for item in items:
        if item.split == TRAIN and (not declared or item.item_id in declared):
            parents[item.class_name].append(item)
    every = [
        ClassMaterial(
            class_name=one.class_name,
            label=one.label,
            display_name=one.called,
            parents=tuple(sorted(parents[one.class_name], key=lambda item: item.item_id)),
        )
        for one in dataset.classes
        if not recipe.class_names or one.class_name in recipe.class_names
    ]
    return {material.class_name: material for material in every if plan.count(material)}


async def _with_captions(
    context: Context, materials: Mapping[str, ClassMaterial], progress: WorkProgress
) -> dict[str, ClassMaterial]:
    images = [parent for material in materials.values() for parent in material.parents]
    called = {name: material.display_name for name, material in materials.items()}
    captions = await caption(context, images, called, progress)
    return {
        name: replace(
            material,
            captions=tuple(
                sorted({captions[p.item_id] for p in material.parents if p.item_id in captions})
            ),
        )
        for name, material in materials.items()
    }
