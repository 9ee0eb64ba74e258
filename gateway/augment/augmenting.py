"""The durable work of an augmentation, from its recipe to its manifests."""

import asyncio
import uuid
from dataclasses import dataclass, replace
from typing import Any

from gateway.api.resources import Augmentation, AugmentationResult, ClassPrompts, Dataset, Shortfall
from gateway.augment.lengths import NO_PROMPTS, PromptLengths
from gateway.augment.making import Making
from gateway.augment.materials import collect
from gateway.augment.output import Output
from gateway.augment.recognising import Recognising
from gateway.augment.recognition import ClassRecognition, warnings_of
from gateway.augment.searching import Searching
from gateway.augment.used_models import check_models, need_model
from gateway.context import Context
from gateway.durable.progress import WorkProgress
from gateway.durable.steps import step
from gateway.methods.base import Method
from gateway.methods.registry import method_of, parse_parameters
from gateway.plan import GeneratorModel, Plan
from servicekit.storage import delete_many, to_uri


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
    folder = await step("work", lambda: asyncio.to_thread(_new_folder, context, augmentation))
    made = await _make(context, augmentation, dataset, progress, folder)
    progress.start("assemble", 1, "manifests")
    await step(
        "assemble",
        lambda: asyncio.to_thread(_write, context, augmentation, made, progress),
    )
    await asyncio.to_thread(_clear, context, augmentation)
    progress.finish()


def _new_folder(context: Context, augmentation: Augmentation) -> str:
    """Returns a folder of the store for what is decided, and deletes what older work left: this
    begins anew, and may come to something else."""
    _clear(context, augmentation)
    return f"{_folder(augmentation)}{uuid.uuid4().hex}"


def _clear(context: Context, augmentation: Augmentation) -> None:
    delete_many(context.store, list(context.store.list(_folder(augmentation))))


def _folder(augmentation: Augmentation) -> str:
    return f"work/{augmentation.name}/"


async def _make(
    context: Context,
    augmentation: Augmentation,
    dataset: Dataset,
    progress: WorkProgress,
    folder: str,
) -> _Made:
    recipe = augmentation.recipe
    method = method_of(recipe.method)
    plan = Plan(dataset.digest, recipe, method, parse_parameters(method, recipe.parameters), "")
    model: GeneratorModel | None = None
    if method.model:
        values = await step("model", lambda: _model(context, method))
        tuples = {name: tuple(one) for name, one in values.items() if isinstance(one, list)}
        model = GeneratorModel(**values | tuples)
        plan = replace(plan, model_digest=model.digest)
    materials = await collect(context, dataset, plan, model, progress)
    prompts = tuple(material.figures for material in materials.values() if material.figures)
    if model is None:
        search = Searching(context, plan, materials, dataset.manifest_uri, progress, folder)
        made = _Made(*await search.run(), prompts)
    else:
        uri, name = dataset.manifest_uri, augmentation.name
        making = Making(context, plan, model, materials, uri, progress, name, folder)
        output, shortfalls, lengths = await making.run()
        made = _Made(output, shortfalls, prompts, lengths)
    recognition = await Recognising(context, dataset).run(materials, made.output, progress)
    for text in warnings_of(recognition):
        progress.notice(f"warning: {text}")
    return replace(made, recognition=recognition)


async def _model(context: Context, method: Method) -> dict[str, Any]:
    return vars(need_model(await context.clients.generator.served(), method))


def _write(
    context: Context,
    augmentation: Augmentation,
    made: _Made,
    progress: WorkProgress,
) -> None:
    """Writes both manifests and the finished augmentation. Timings are in the latter only."""
    accepted, rejected = (f"{augmentation.name}/{one}.parquet" for one in ("manifest", "rejected"))
    digest = made.output.write_accepted(accepted)
    made.output.write_rejected(rejected)
    result = AugmentationResult(
        manifest_uri=to_uri(accepted),
        digest=digest,
        accepted_count=made.output.counts.accepted_count,
        rejected_count=made.output.counts.rejected_count,
        rejected_uri=to_uri(rejected),
        shortfalls=tuple(made.shortfalls),
        seconds=dict(progress.seconds),
        prompts=made.prompts,
        notices=tuple(progress.notices),
        recognition=made.recognition,
        lengths=made.lengths,
    )
    context.catalog.finish(replace(augmentation, result=result))
