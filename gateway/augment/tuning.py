"""What methods that tune have learned before they make images: once, and found again afterwards.

A tuning's id is the digest of all that it depends on, so every augmentation and every row of a
study that asks for the same has the same artefacts.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from gateway.clients.tunings import Tuned, TuningRequest
from gateway.context import Context
from gateway.digests import digest
from gateway.durable.progress import WorkProgress
from gateway.durable.steps import AtMost, step, steps
from gateway.methods.artefacts import ArtefactKind, Learned, Tuning
from gateway.methods.base import ClassMaterial
from gateway.plan import GeneratorModel, Plan
from servicekit.errors import Precondition

_MOST_TEMPLATES = 256
# Where one class cannot be learned the others are; the shortfall of its images says why.
_OF_ONE_CLASS = {"CLASS_EMPTY", "LOSS_NOT_FINITE"}


async def with_learned(
    context: Context,
    plan: Plan,
    model: GeneratorModel,
    manifest_uri: str,
    materials: Mapping[str, ClassMaterial],
    progress: WorkProgress,
) -> dict[str, ClassMaterial]:
    """Returns the classes with what was learned of them, and says how well."""
    need = _need_of(plan)
    with_images = [name for name, material in materials.items() if material.parents]
    groups = [tuple(with_images)] if not need.per_class else [(n,) for n in with_images]
    code = await step("tuning code", context.clients.tunings.code_digest)
    progress.start("tune", len(groups), "tunings")
    requests = [
        _request(plan, model, manifest_uri, [materials[n] for n in names]) for names in groups
    ]
    results = await steps(
        "tune",
        [partial(_tuned, context, wanted, plan.dataset_digest, model, code) for wanted in requests],
        begin=AtMost(lambda: context.settings.training_runs_in_flight).begin,
        done=lambda number, _: progress.advance(1),
    )
    found = dict(materials)
    for names, result in zip(groups, results, strict=True):
        _tell(names, result, progress)
        learned = tuple(map(_artefact, result.get("learned", ())))
        for name in names:
            problem = result.get("problem", "")
            found[name] = replace(materials[name], artefacts=learned, problem=problem)
    return found


def _need_of(plan: Plan) -> Tuning:
    """What the plan's method, which tunes, needs to be learned."""
    assert plan.method.needs.tuning is not None
    return plan.method.needs.tuning


def _artefact(plain: Mapping[str, Any]) -> Learned:
    return Learned(**{**plain, "kind": ArtefactKind(plain["kind"])})


def _request(
    plan: Plan, model: GeneratorModel, manifest_uri: str, materials: Sequence[ClassMaterial]
) -> TuningRequest:
    templates = dict.fromkeys(prompt for one in materials for prompt in one.prompts)
    return TuningRequest(
        manifest_uri=manifest_uri,
        train_item_ids=plan.recipe.train_item_ids,
        method=_need_of(plan).id,
        model=model.name,
        model_digest=model.digest,
        class_names=tuple(one.class_name for one in materials),
        class_texts=tuple(one.display_name for one in materials),
        templates=tuple(templates)[:_MOST_TEMPLATES],
        epoch_count=int(plan.values["epochs"]),
        seed=int(plan.values["tuning_seed"]),
    )


async def _tuned(
    context: Context, wanted: TuningRequest, dataset_digest: str, model: GeneratorModel, code: str
) -> dict[str, Any]:
    """Returns what came of one tuning, as plain data."""
    # With the manifest's URI: two datasets of the same images are two requests to the trainer.
    said = asdict(wanted)
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in said.items()}
    tuning_id = f"t{digest('tuning', dataset_digest, model.digest, code, plain)[:40]}"
    try:
        return _plain(await context.clients.tunings.tune(tuning_id, wanted, lambda *_: None))
    except Precondition as error:
        if error.reason not in _OF_ONE_CLASS:
            raise
        return {"problem": f"nothing could be learned of it: {error.message}"}
    except asyncio.CancelledError:
        # When the gateway ends, the tuning goes on and is found again.
        if not context.closing.is_set():
            await context.clients.tunings.cancel(tuning_id)
        raise


def _plain(tuned: Tuned) -> dict[str, Any]:
    learned = [{**asdict(one), "kind": str(one.kind)} for one in tuned.learned]
    return {**asdict(tuned), "learned": learned, "notes": list(tuned.notes)}


def _tell(names: Sequence[str], result: Mapping[str, Any], progress: WorkProgress) -> None:
    of = names[0] if len(names) == 1 else f"{len(names)} classes"
    if problem := result.get("problem"):
        progress.notice(f"warning: {of}: {problem}")
        return
    for note in result["notes"]:
        progress.notice(f"tuning of {of}: {note}")
    before, after = result["base_loss"], result["loss"]
    what = f"the loss on held-out images fell from {before:.4f} to {after:.4f}"
    if after >= before:
        what = (
            "no epoch was better on held-out images than the model before, which is used as it is"
        )
    progress.notice(f"tuning of {of}: {result['epoch_count']} epochs; {what}")
