"""Counts how often CLIP finds each class among the images made and among real ones."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Generic, TypeVar

import numpy as np

from gateway.api.resources import Dataset
from gateway.augment.output import Output
from gateway.augment.recognition import ClassRecognition
from gateway.augment.senses import Array
from gateway.augment.shards import shown_text
from gateway.augment.tables import lowest_of_classes
from gateway.context import Context
from gateway.digests import digest
from gateway.durable.progress import WorkProgress
from gateway.durable.steps import AtMost, step, steps
from gateway.methods.base import ClassMaterial

T = TypeVar("T")

# Images of each kind that are looked at: of one class, and of all together.
PER_CLASS, IN_ALL, LEAST_PER_CLASS = 64, 8192, 8
_COLUMNS = ("class_name", "item_id", "image_uri", "sha256")

Images = Sequence[tuple[str, str]]  # (URI, SHA-256)


class Recognising:
    """The look at one augmentation. What all classes share is made once: their texts' vectors."""

    def __init__(self, context: Context, dataset: Dataset) -> None:
        self.context, self.dataset = context, dataset
        self._texts = _Once(self._embed_texts)
        # Of what decides over all counts alike.
        self._names = digest([one.called for one in dataset.classes])
        self._encoder = ""

    async def run(
        self, materials: Mapping[str, ClassMaterial], output: Output, progress: WorkProgress
    ) -> tuple[ClassRecognition, ...]:
        """Returns the counts of every class of which an image was made; none of a single class."""
        if len(self.dataset.classes) < 2:
            return ()
        counts = output.counts.made
        names = [name for name in materials if counts[name]]
        count = sample_of_class(len(names))
        progress.start("recognise", len(names), "classes")
        if not names:
            return ()
        made = _Once(partial(asyncio.to_thread, _lowest, output, count))
        labels = {one.class_name: at for at, one in enumerate(self.dataset.classes)}
        self._encoder = await step("encoder", self.context.clients.retriever.encoder)

        async def look(name: str) -> dict[str, int | str]:
            real = [(p.image_uri, p.sha256) for p in materials[name].parents[:count]]
            label, ours = labels[name], (await made.get())[name]
            return asdict(
                ClassRecognition(
                    name,
                    len(real),
                    await self._found(label, real),
                    len(ours),
                    await self._found(label, ours),
                    len(labels),
                )
            )

        screeners = self.context.clients.screener.replicas
        found = await steps(
            "recognise",
            [partial(look, name) for name in names],
            begin=AtMost(lambda: 2 * screeners.ready_count()).begin,
            done=lambda number, _: progress.advance(),
        )
        return tuple(ClassRecognition(**one) for one in found)  # type: ignore[arg-type]

    async def _found(self, label: int, images: Images) -> int:
        """Returns how many images are nearest to the text of the class with this label.

        Kept in the store: real images are the same for every method and seed.
        """
        if not images:
            return 0
        shown = [sha for _, sha in images]
        name = digest("recognised", self._encoder, self._names, label, shown)
        key, store = f"recognised/{name[:2]}/{name}.json", self.context.store
        if await asyncio.to_thread(store.exists, key):
            return int(json.loads(await asyncio.to_thread(store.get, key)))
        vectors = await self.context.clients.screener.embed_images([uri for uri, _ in images])
        found = await asyncio.to_thread(_nearest, vectors, await self._texts.get(), label)
        await asyncio.to_thread(store.put, key, json.dumps(found).encode())
        return found

    async def _embed_texts(self) -> Array:
        texts = [shown_text(one.called) for one in self.dataset.classes]
        return await self.context.clients.retriever.embed_texts(texts)


def sample_of_class(class_count: int) -> int:
    """Returns how many images of each of so many classes CLIP looks at."""
    return min(PER_CLASS, max(LEAST_PER_CLASS, IN_ALL // max(class_count, 1)))


class _Once(Generic[T]):
    """What is looked up when it is asked for, once, also where several ask at the same time."""

    def __init__(self, look: Callable[[], Awaitable[T]]) -> None:
        self._look, self._lock = look, asyncio.Lock()
        self._found: list[T] = []

    async def get(self) -> T:
        async with self._lock:
            if not self._found:
                self._found.append(await self._look())
        return self._found[0]


def _lowest(output: Output, count: int) -> dict[str, list[tuple[str, str]]]:
    """Returns URI and SHA-256 of `count` images of each class: those with the lowest ids."""
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    table = lowest_of_classes(output.accepted(*_COLUMNS), count)
    for row in table.to_pylist() if table else ():
        found[row["class_name"]].append((row["image_uri"], row["sha256"]))
    return found


def _nearest(images: Array, texts: Array, label: int) -> int:
    return int((np.argmax(images @ texts.T, axis=1) == label).sum())
