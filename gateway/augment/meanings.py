"""Finds out what the class names of an augmentation mean, before prompts are written."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

from gateway.augment.senses import (
    Sense,
    SenseChoice,
    choice_of,
    choose,
    described_choices,
    parse_pins,
    pinned,
    plain_of,
)
from gateway.context import Context
from gateway.durable.progress import WorkProgress
from gateway.durable.steps import AtMost, step, steps
from gateway.methods.base import ClassMaterial
from gateway.plan import Plan
from servicekit.errors import InvalidArgument

# Real images of a class that senses are compared with: those with the lowest item ids.
IMAGES = 32


async def find_senses(
    context: Context,
    plan: Plan,
    materials: Mapping[str, ClassMaterial],
    called: Mapping[str, str],
    progress: WorkProgress,
) -> dict[str, SenseChoice]:
    """Returns the sense of every class of `materials` that anybody knows a meaning of.

    `called` says what the classes of the whole dataset are called.
    """
    names = list(materials)
    pins = parse_pins(str(plan.values.get("senses", "")), list(called))
    progress.start("senses", len(names), "classes")
    every = tuple(called.values())

    async def describe(name: str) -> list[dict[str, str]]:
        try:
            found = await context.clients.prompter.senses(name, called[name], every)
        except InvalidArgument as error:
            if error.reason != "CLASS_NAME_BLANK":
                raise
            return []  # Prompts say so.
        return [vars(one) for one in found]

    prompters = context.clients.prompter.replicas
    described = await steps(
        "describe senses",
        [partial(describe, name) for name in names],
        begin=AtMost(lambda: 2 * prompters.ready_count()).begin,
        done=lambda number, _: progress.advance(),
    )
    known = {
        name: [Sense(**one) for one in senses]
        for name, senses in zip(names, described, strict=True)
    }
    chosen = {name: pinned(pin, known[name]) for name, pin in pins.items() if name in known}
    chosen |= {
        name: SenseChoice(senses[0])
        for name, senses in known.items()
        if name not in chosen and (len(senses) == 1 or (senses and not materials[name].parents))
    }
    open_ = {name: senses for name, senses in known.items() if senses and name not in chosen}
    if open_:
        compared = await step("compare senses", lambda: _compare(context, materials, open_))
        chosen |= {name: choice_of(values) for name, values in compared.items()}
    shown = {n: n if called[n] == n else f"{n} ({called[n]})" for n in chosen}
    for text in described_choices({shown[name]: choice for name, choice in chosen.items()}):
        progress.notice(text)
    return chosen


async def _compare(
    context: Context, materials: Mapping[str, ClassMaterial], senses: Mapping[str, list[Sense]]
) -> dict[str, Mapping[str, Any]]:
    """Returns the choice of every class with senses, as plain data."""
    clip, looking = context.clients.retriever, context.clients.screener
    images = {
        name: await looking.embed_images([parent.image_uri for parent in material.parents[:IMAGES]])
        for name, material in materials.items()
        if material.parents
    }
    choices = {}
    for name, candidates in senses.items():
        texts = await clip.embed_texts([sense.text for sense in candidates])
        others = [vectors for other, vectors in images.items() if other != name]
        choice = await asyncio.to_thread(choose, candidates, texts, images[name], others)
        choices[name] = plain_of(choice)
    return choices
