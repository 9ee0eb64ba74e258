"""What the classes of an imported dataset are called in texts."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from difflib import get_close_matches

from gateway.api.resources import Dataset
from gateway.clients.prompter import Prompter
from gateway.datasets.display_names import Synset, display_names, synset_of, warnings_of
from servicekit.errors import InvalidArgument
from servicekit.together import together

_CALLS = 8


async def with_display_names(prompter: Prompter, dataset: Dataset) -> Dataset:
    """Returns the dataset with what its classes are called, and warnings where that says nothing.

    Only ImageNet ids are asked for. Raises InvalidArgument if the source names a class that the
    dataset does not have.
    """
    names = [one.class_name for one in dataset.classes]
    given = dataset.source.display_names
    check_given(given, names)
    ids = {synset_of(name) for name in names if name not in given} - {""}
    made = display_names(names, await _synsets(prompter, sorted(ids)), given)
    return replace(
        dataset,
        classes=tuple(
            replace(one, display_name=made[one.class_name].text) for one in dataset.classes
        ),
        warnings=(*dataset.warnings, *warnings_of(made)),
    )


def check_given(given: Iterable[str], class_names: list[str]) -> None:
    """Raises InvalidArgument naming a class of `given` that is not there, and the nearest one."""
    known = set(class_names)
    for name in given:
        if name not in known:
            near = get_close_matches(name, class_names, n=1, cutoff=0.0)
            guess = f"; did you mean {near[0]!r}?" if near else ""
            raise InvalidArgument(
                f"the names for texts have the class {name!r}, which the dataset does not have"
                f"{guess}",
                field="source.display_names",
                reason="UNKNOWN_CLASS",
            )


async def _synsets(prompter: Prompter, ids: list[str]) -> dict[str, Synset]:
    room = asyncio.Semaphore(_CALLS)

    async def look(one: str) -> Synset | None:
        async with room:
            return await prompter.synset(one)

    found = await together(look(one) for one in ids)
    return {one: synset for one, synset in zip(ids, found, strict=True) if synset}
