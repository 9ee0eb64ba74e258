"""The durable work of an augmentation, from its recipe to its manifests."""

import asyncio
from dataclasses import dataclass, replace
from typing import Any

from gateway.digests import sha256_of
from gateway.lengths import NO_PROMPTS, PromptLengths
from gateway.methods.registry import method_of, parse_parameters
from gateway.plan import ModelInfo, Plan
from gateway.recognition import ClassRecognition, warnings_of
from gateway.resources import Augmentation, AugmentationResult, ClassPrompts, Dataset, Shortfall
from gateway.run.context import Context
from gateway.run.making import Making
from gateway.run.materials import collect
from gateway.run.output import Output
from gateway.run.progress import Progress
from gateway.run.recognising import Recognising
from gateway.run.searching import Searching
from gateway.run.steps import step
from gateway.run.used_models import check_models, need_model
from servicekit.storage import to_uri


@dataclass(frozen=True)
class _Made:
    """What an augmentation made: its images, what is missing, its prompts and what it shows."""

    output: Output
    shortfalls: list[Shortfall]
    prompts: tuple[ClassPrompts, ...]
    lengths: PromptLengths = NO_PROMPTS
    recognition: tuple[ClassRecognition, ...] = ()


async def run_augmentation(context: Context, augmentation: Augmentation) -> None:
    """Makes the images of an augmentation and writes it into the catalog."""
    progress = context.begin(augmentation.name)
    await check_models(context, augmentation)
    dataset = await asyncio.to_thread(context.catalog.dataset, augmentation.dataset)
    made = await _make(context, augmentation, dataset, progress)
    progress.start("assemble", 1, "manifests")
    await step(
        "assemble",
        lambda: asyncio.to_thread(_write, context, augmentation, made, progress),
    )
    progress.finish()


async def _make(
    context: Context, augmentation: Augmentation, dataset: Dataset, progress: Progress
) -> _Made:
    recipe = augmentation.recipe
    method = method_of(recipe.method)
    plan = Plan(dataset.digest, recipe, method, parse_parameters(method, recipe.parameters), "")
    model: ModelInfo | None = None
    if method.model:
        values = await step("model", lambda: _model(context, method.model))
        model = ModelInfo(**{**values, "text_shape": tuple(values["text_shape"])})
        plan = replace(plan, model_digest=model.digest)
    materials = await collect(context, dataset, plan, model, progress)
    prompts = tuple(material.figures for material in materials.values() if material.figures)
    if model is None:
        search = Searching(context, plan, materials, dataset.manifest_uri, progress)
        made = _Made(*await search.run(), prompts)
    else:
        making = Making(
            context, plan, model, materials, dataset.manifest_uri, progress, augmentation.name
        )
        output, shortfalls, lengths = await making.run()
        made = _Made(output, shortfalls, prompts, lengths)
    recognition = await Recognising(context, dataset).run(materials, made.output, progress)
    for text in warnings_of(recognition):
        progress.notice(f"warning: {text}")
    return replace(made, recognition=recognition)


async def _model(context: Context, name: str) -> dict[str, Any]:
    return vars(need_model(await context.clients.generator.served(), name))


def _write(
    context: Context,
    augmentation: Augmentation,
    made: _Made,
    progress: Progress,
) -> None:
    """Writes both manifests and the finished augmentation. Timings are in the latter only."""
    accepted, rejected = made.output.accepted_file(), made.output.rejected_file()
    keys = [f"{augmentation.name}/manifest.parquet", f"{augmentation.name}/rejected.parquet"]
    for key, data in zip(keys, (accepted, rejected), strict=True):
        context.store.put(key, data, overwrite=True)
    result = AugmentationResult(
        manifest_uri=to_uri(keys[0]),
        digest=sha256_of(accepted),
        accepted_count=made.output.accepted_count,
        rejected_count=made.output.rejected_count,
        rejected_uri=to_uri(keys[1]),
        shortfalls=tuple(made.shortfalls),
        seconds=dict(progress.seconds),
        prompts=made.prompts,
        notices=tuple(progress.notices),
        recognition=made.recognition,
        lengths=made.lengths,
    )
    context.catalog.finish(replace(augmentation, result=result))
