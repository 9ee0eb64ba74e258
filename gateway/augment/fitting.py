"""Sees that prompts fit into the model: names are shortened, and prompts that are cut counted."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from itertools import groupby
from operator import itemgetter
from statistics import median
from typing import Any

from gateway.augment.lengths import (
    NO_PROMPTS,
    PromptLengths,
    lengths_of,
    most_of_name,
    shorter_names,
)
from gateway.context import Context
from gateway.durable.progress import WorkProgress
from gateway.durable.steps import step
from gateway.methods.artefacts import Artefact, ArtefactKind
from gateway.methods.base import ClassMaterial, Draft, MixedText, PromptText, Slot
from gateway.plan import GeneratorModel

# A text, and the artefacts whose words may stand in it.
Worded = tuple[tuple[Artefact, ...], str]

# Different prompts that are looked at, spread evenly over all.
MOST_TEXTS = 20_000
# Images whose side is by this factor another than the model's.
_FAR_SIZE = 2.0


async def with_short_names(
    context: Context,
    model: GeneratorModel,
    materials: Mapping[str, ClassMaterial],
    progress: WorkProgress,
) -> dict[str, ClassMaterial]:
    """Returns the classes with names that no text encoder cuts away, and says which it changed."""
    names = {name: material.display_name for name, material in materials.items()}

    async def fit() -> dict[str, str]:
        count = context.clients.generator.count_tokens
        lengths, limit = await count(model.name, list(names.values()))
        most = most_of_name(limit)
        fitted = {}
        for key, length in zip(names, lengths, strict=True):
            if length > most:
                choices = shorter_names(names[key])
                counts, _ = await count(model.name, choices) if choices else ([], 0)
                fits = (text for text, n in zip(choices, counts, strict=True) if n <= most)
                fitted[key] = next(fits, choices[-1] if choices else names[key])
        return fitted

    fitted = await step("names", fit)
    for key, text in fitted.items():
        progress.notice(
            f"the name {names[key]!r} is too long for the text encoder of {model.name!r}: prompts "
            f"call the class {text!r}; --names FILE gives another"
        )
    return {
        name: replace(material, display_name=fitted.get(name, material.display_name))
        for name, material in materials.items()
    }


async def look_at_lengths(
    context: Context,
    model: GeneratorModel,
    prompts: Callable[[], set[Worded]],
    progress: WorkProgress,
) -> PromptLengths:
    """Counts the prompts that the model's text encoder cuts, and says so."""

    async def look() -> dict[str, Any]:
        texts = await asyncio.to_thread(lambda: _spread(prompts()))
        found = NO_PROMPTS
        for artefacts, group in groupby(texts, key=itemgetter(0)):
            few = [text for _, text in group]
            counts, limit = await context.clients.generator.count_tokens(model.name, few, artefacts)
            found = found.with_more(await asyncio.to_thread(lengths_of, few, counts, limit))
        return asdict(found)

    found = await step("prompt lengths", look)
    lengths = PromptLengths(**{**found, "examples": tuple(found["examples"])})
    if text := lengths.notice(model.name):
        progress.notice(text)
    return lengths


def _spread(prompts: Iterable[Worded]) -> list[Worded]:
    """Returns at most MOST_TEXTS different prompts, spread over all of them, sorted."""
    texts = sorted(set(prompts))
    return texts[:: -(-len(texts) // MOST_TEXTS)] if texts else []


def size_notice(model: GeneratorModel, materials: Mapping[str, ClassMaterial]) -> str:
    """Returns that the model's images have another size than those of the data; "" if they have
    not, by far."""
    sizes = [(p.width, p.height) for material in materials.values() for p in material.parents]
    if not sizes or not model.width or not model.height:
        return ""
    width, height = (round(median(side)) for side in zip(*sizes, strict=True))
    factor = min(width, height) / min(model.width, model.height)
    if 1 / _FAR_SIZE < factor < _FAR_SIZE:
        return ""
    what = "and details are lost" if factor > 1 else "and they are enlarged"
    return (
        f"your images are {width} x {height} pixels (median), the model {model.name!r} makes "
        f"{model.width} x {model.height}: sizes differ {max(factor, 1 / factor):.1f} times, {what}"
    )


def texts_of(drafts: Iterable[tuple[Slot, Draft]]) -> set[Worded]:
    """Returns the different texts that the text encoder reads for these drafts."""
    texts: set[Worded] = set()
    for _, draft in drafts:
        words = tuple(sorted(one for one in draft.artefacts if one.kind == ArtefactKind.TOKENS))
        if isinstance(draft.text, PromptText):
            texts.add((words, draft.text.prompt))
        elif isinstance(draft.text, MixedText):
            texts.update((words, caption) for caption in draft.text.captions)
    return texts
