"""The prompts of an augmentation, class by class: written, sieved, measured."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from gateway.api.resources import ClassPrompts
from gateway.augment.diversity import Array, distinct, first_of_alike, mean_distance
from gateway.augment.meanings import find_senses
from gateway.augment.senses import SenseChoice
from gateway.clients.prompter import Prompt, PromptRequest
from gateway.context import Context
from gateway.digests import seed_of
from gateway.durable.progress import WorkProgress
from gateway.durable.steps import AtMost, steps
from gateway.methods.base import ClassMaterial, StyledPrompt
from gateway.plan import Plan
from servicekit.errors import InvalidArgument

_MOST_PROMPTS = 10_000
# Classes that a notice names.
_SHOWN = 5
# Times that prompts are asked for to replace those that failed or said the same.
_ROUNDS = 3


async def with_prompts(
    context: Context,
    plan: Plan,
    materials: Mapping[str, ClassMaterial],
    called: Mapping[str, str],
    progress: WorkProgress,
) -> dict[str, ClassMaterial]:
    """Returns the classes with their prompts, and with their senses if the method needs them.

    `called` says what the classes of the whole dataset are called: no prompt of one names another.
    """
    needs = plan.method.needs
    senses: dict[str, SenseChoice] = {}
    if needs.senses:
        senses = await find_senses(context, plan, materials, called, progress)
    wanted = needs.prompt_count or int(plan.values.get("prompts_per_class", 0))
    counts: dict[str, int] = {}
    for name, material in materials.items():
        images = plan.count(material)
        counts[name] = min(wanted or images, images, _MOST_PROMPTS)
    progress.start("prompt", sum(counts.values()), "prompts")
    names = list(materials)

    every = tuple(called.values())

    async def write(name: str) -> dict[str, Any]:
        writing = _Writing(context, plan, name, called[name], every, senses.get(name))
        return await writing.run(counts[name])

    prompters = context.clients.prompter.replicas
    written = await steps(
        "prompt",
        [partial(write, name) for name in names],
        begin=AtMost(lambda: 2 * prompters.ready_count()).begin,
        done=lambda number, answer: progress.advance(len(answer["prompts"])),
    )
    if text := _fallback_notice(dict(zip(names, written, strict=True))):
        progress.notice(f"warning: {text}")
    return {
        name: _with(materials[name], answer, senses.get(name))
        for name, answer in zip(names, written, strict=True)
    }


def _fallback_notice(written: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns of which classes nobody knows what their prompts should say; "" if of none."""
    lacking = {name: answer["figures"]["fallback_count"] for name, answer in written.items()}
    lacking = {name: count for name, count in lacking.items() if count}
    if not lacking:
        return ""
    shown = ", ".join(map(repr, list(lacking)[:_SHOWN])) + (
        ", ..." if len(lacking) > _SHOWN else ""
    )
    total = sum(answer["figures"]["prompt_count"] for answer in written.values())
    return (
        f"WordNet has no hypernym or no definition of {len(lacking)} of {len(written)} classes "
        f"({shown}): {sum(lacking.values())} of {total} prompts say less than their kind asks for; "
        "--names FILE gives a class a name that WordNet knows"
    )


@dataclass
class _Sieved:
    """Prompts that were kept, and what became of the others."""

    kept: list[Prompt] = field(default_factory=list)
    vectors: list[Array] = field(default_factory=list)
    failed: int = 0
    repeated: int = 0
    cut: int = 0
    problem: str = ""


@dataclass(frozen=True)
class _Writing:
    """Writes the prompts of one class."""

    context: Context
    plan: Plan
    name: str
    called: str
    class_names: tuple[str, ...]
    sense: SenseChoice | None

    async def run(self, count: int) -> dict[str, Any]:
        """Returns prompts, styled prompts and figures as plain data."""
        needs = self.plan.method.needs
        sieved = _Sieved()
        await self._write(needs.prompt_strategy, count, sieved)
        photos = len(sieved.kept)
        if needs.styled_strategy:
            styled = int(self.plan.values["prompts_per_class"])
            await self._write(needs.styled_strategy, styled, sieved)
        figures = await asyncio.to_thread(_figures, sieved)
        plain = [vars(prompt) for prompt in sieved.kept]
        return {
            "prompts": plain[:photos],
            "styled": plain[photos:],
            "figures": figures,
            "problem": sieved.problem,
        }

    async def _write(self, strategy: str, count: int, sieved: _Sieved) -> None:
        """Adds `count` prompts, or fewer if the language model does not get there."""
        sieve = self.plan.method.needs.senses
        end = len(sieved.kept) + count
        for turn in range(_ROUNDS if sieve else 1):
            if missing := end - len(sieved.kept):
                try:
                    prompts, failed = await self._ask(strategy, missing, turn)
                except InvalidArgument as error:
                    if error.reason != "CLASS_NAME_BLANK":
                        raise
                    sieved.problem = f"{error.message}; --names FILE gives another"
                    return  # The fault of this class's name, and no other's.
                sieved.failed += len(failed)
                if sieve:
                    await self._sieve(prompts, sieved)
                else:
                    sieved.kept += prompts

    async def _ask(self, strategy: str, count: int, turn: int) -> tuple[list[Prompt], list[str]]:
        seed = seed_of(self.plan.recipe.seed, "prompts", self.plan.method.id)
        wanted = PromptRequest(self.name, strategy, count, seed, display_name=self.called)
        if turn:
            wanted = replace(wanted, seed=seed_of(seed, turn))
        if self.plan.method.needs.senses:
            wanted = replace(wanted, class_names=self.class_names)
        if self.sense:
            known = self.sense.sense
            meaning = "" if known.name else known.definition
            wanted = replace(wanted, sense=known.name, meaning=meaning)
        return await self.context.clients.prompter.write(wanted)

    async def _sieve(self, prompts: list[Prompt], sieved: _Sieved) -> None:
        """Keeps the prompts that say something new to CLIP."""
        if not prompts:
            return
        texts = [prompt.text for prompt in prompts]
        vectors, cut = await self.context.clients.retriever.embed_prompts(texts)
        sieved.cut += cut
        taken = np.array(sieved.vectors) if sieved.vectors else None
        least = self.context.settings.least_prompt_distance
        fresh = await asyncio.to_thread(first_of_alike, vectors, least, taken)
        for number in fresh:
            sieved.kept.append(prompts[number])
            sieved.vectors.append(vectors[number])
        sieved.repeated += len(prompts) - len(fresh)


def _figures(sieved: _Sieved) -> dict[str, int | float]:
    texts = [prompt.text for prompt in sieved.kept]
    return {
        "prompt_count": len(texts),
        "failed_count": sieved.failed,
        "repeated_count": sieved.repeated,
        "clip_cut_count": sieved.cut,
        "fallback_count": sum(prompt.fallback for prompt in sieved.kept),
        "distinct_1": distinct(texts, 1),
        "distinct_2": distinct(texts, 2),
        "mean_distance": mean_distance(np.array(sieved.vectors)) if sieved.vectors else 0.0,
    }


def _with(
    material: ClassMaterial, answer: Mapping[str, Any], sense: SenseChoice | None
) -> ClassMaterial:
    return replace(
        material,
        prompts=tuple(prompt["text"] for prompt in answer["prompts"]),
        prompt_models=tuple(prompt["model"] for prompt in answer["prompts"]),
        styled=tuple(
            StyledPrompt(prompt["text"], prompt["model"], prompt["style"])
            for prompt in answer["styled"]
        ),
        problem=answer["problem"],
        sense=sense.lineage() if sense else {},
        figures=ClassPrompts(material.class_name, **answer["figures"], sense=sense),
    )
