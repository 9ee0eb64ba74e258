"""The durable work of an augmentation, from its recipe to its manifests."""

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gateway.api.resources import Augmentation, AugmentationResult, Dataset
from gateway.augment.keeping import look_at_kept
from gateway.augment.making import Making
from gateway.augment.materials import collect
from gateway.augment.method_outcome import Made, MethodOutcome, chosen, joined
from gateway.augment.recognising import Recognising
from gateway.augment.recognition import ClassRecognition, warnings_of
from gateway.augment.searching import Searching
from gateway.augment.used_models import check_models, need_model
from gateway.context import Context
from gateway.durable.progress import WorkProgress
from gateway.durable.steps import step
from gateway.methods.base import ClassMaterial, Method
from gateway.methods.composition import parts_of
from gateway.mixes import apportioned
from gateway.plan import GeneratorModel, Plan
from servicekit.storage import delete_many, to_uri


async def run_augmentation(context: Context, augmentation: Augmentation) -> None:
    """Makes the images of an augmentation and writes it into the catalog."""
    progress = context.begin(augmentation.name)
    await check_models(context, augmentation)
    dataset = await asyncio.to_thread(context.catalog.dataset, augmentation.dataset)
    folder = await step("work", lambda: asyncio.to_thread(_new_folder, context, augmentation))
    made, recognition = await _make(context, augmentation, dataset, progress, folder)
    progress.start("assemble", 1, "manifests")
    await step(
        "assemble",
        lambda: asyncio.to_thread(_write, context, augmentation, made, recognition, progress),
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


def _manifest_key(augmentation: Augmentation, name: str) -> str:
    return f"{augmentation.name}/{name}.parquet"


def _folder(augmentation: Augmentation) -> str:
    return f"work/{augmentation.name}/"


async def _make(
    context: Context,
    augmentation: Augmentation,
    dataset: Dataset,
    progress: WorkProgress,
    folder: str,
) -> tuple[Made, tuple[ClassRecognition, ...]]:
    """Has each method make its part of the images, one method after the other: each keeps the
    generators full."""
    work = _Work(context, augmentation, dataset, progress)
    outcomes: list[tuple[Plan, Mapping[str, ClassMaterial], MethodOutcome]] = []
    for number, plan in enumerate(_plans(augmentation, dataset)):
        if not plan.quota.is_whole:
            progress.part = plan.method.id
        own = folder if plan.quota.is_whole else f"{folder}/{number}"
        outcomes.append(await work.run(plan, own, [one.folder for _, _, one in outcomes]))
    progress.part = ""
    made = joined(context.store, outcomes)
    recognition = await Recognising(context, dataset).run(made.materials, made.output, progress)
    for text in warnings_of(recognition):
        progress.notice(f"warning: {text}")
    if score := augmentation.recipe.keep:
        uri = to_uri(_manifest_key(augmentation, "unkept"))
        kept = await look_at_kept(context, made.output, score, uri, progress)
        made = replace(made, kept=kept)
    return made, recognition


def _plans(augmentation: Augmentation, dataset: Dataset) -> list[Plan]:
    """Returns the plan of each method, which is a whole augmentation but for its quota."""
    recipe = augmentation.recipe
    parts = parts_of(recipe.method, recipe.parameters)
    sampled = apportioned(recipe.safety_sample, [part.share for part in parts])
    return [
        Plan(
            dataset.digest,
            replace(recipe, method=part.method.id, safety_sample=count),
            part.method,
            part.values,
            "",
            part.quota,
        )
        for part, count in zip(parts, sampled, strict=True)
    ]


@dataclass(frozen=True)
class _Work:
    """What all methods of an augmentation work with."""

    context: Context
    augmentation: Augmentation
    dataset: Dataset
    progress: WorkProgress

    async def run(
        self, plan: Plan, folder: str, before: Sequence[str]
    ) -> tuple[Plan, Mapping[str, ClassMaterial], MethodOutcome]:
        """Makes the images of one method. `before` are the folders of those before it."""
        context, progress, uri = self.context, self.progress, self.dataset.manifest_uri
        model: GeneratorModel | None = None
        if plan.method.model:
            values = await step("model", lambda: _model(context, plan.method))
            tuples = {name: tuple(one) for name, one in values.items() if isinstance(one, list)}
            model = GeneratorModel(**values | tuples)
            plan = replace(plan, model_digest=model.digest)
        materials = await collect(context, self.dataset, plan, model, progress)
        if model is None:
            work: Searching | Making = Searching(
                context, plan, materials, uri, progress, folder, before
            )
        else:
            name = self.augmentation.name
            work = Making(context, plan, model, materials, uri, progress, name, folder, before)
        outcome = await work.run()
        outcome = await asyncio.to_thread(chosen, context.store, plan, materials, outcome)
        figures = [material.figures for material in materials.values() if material.figures]
        prompts = tuple(replace(one, method=plan.method.id) for one in figures)
        return plan, materials, replace(outcome, prompts=prompts)


async def _model(context: Context, method: Method) -> dict[str, Any]:
    return vars(need_model(await context.clients.generator.served(), method))


def _write(
    context: Context,
    augmentation: Augmentation,
    made: Made,
    recognition: tuple[ClassRecognition, ...],
    progress: WorkProgress,
) -> None:
    """Writes both manifests and the finished augmentation. Timings are in the latter only."""
    accepted, rejected, unkept = (
        _manifest_key(augmentation, one) for one in ("manifest", "rejected", "unkept")
    )
    if made.kept:
        made.output.write_unkept(unkept)
    digest = made.output.write_accepted(accepted)
    made.output.write_rejected(rejected)
    result = AugmentationResult(
        manifest_uri=to_uri(accepted),
        digest=digest,
        accepted_count=made.output.counts.accepted_count,
        rejected_count=made.output.counts.rejected_count,
        rejected_uri=to_uri(rejected),
        shortfalls=made.shortfalls,
        seconds=dict(progress.seconds),
        prompts=made.prompts,
        notices=tuple(progress.notices),
        recognition=recognition,
        lengths=made.lengths,
        kept=made.kept,
    )
    context.catalog.finish(replace(augmentation, result=result))
