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
from servicekit.errors import Precondition
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
    values = parse_parameters(method, recipe.parameters)
    plan = Plan(dataset.digest, recipe, method, values, "")
    model: ModelInfo | None = None
    if method.model:
        model = model_of(await step("models", lambda: plain_models(context)), method.model)
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


async def plain_models(context: Context) -> dict[str, dict[str, Any]]:
    return {name: vars(m) for name, m in (await context.clients.generator.models()).items()}


def model_of(models: dict[str, dict[str, Any]], name: str) -> ModelInfo:
    if name not in models:
        raise Precondition(
            f"the generator has no model {name!r}, only {', '.join(models) or 'none'}; add it, or "
            "choose a method that does not need it",
            subject=name,
            reason="MODEL_MISSING",
        )
    values = models[name]
    return ModelInfo(**{**values, "text_shape": tuple(values["text_shape"])})


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
