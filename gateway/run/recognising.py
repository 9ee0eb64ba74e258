"""Counts how often CLIP finds each class among the images made and among real ones."""

import asyncio
import heapq
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np

from gateway.digests import digest
from gateway.methods.base import ClassMaterial
from gateway.recognition import ClassRecognition
from gateway.resources import Dataset
from gateway.run.context import Context
from gateway.run.output import Output
from gateway.run.progress import Progress
from gateway.run.shards import shown_text
from gateway.run.steps import AtMost, step, steps
from gateway.senses import Array

# Images of each kind that are looked at: of one class, and of all together.
PER_CLASS, IN_ALL, LEAST_PER_CLASS = 64, 8192, 8
# Most that are held of a class to find the lowest ids.
_HELD = 16 * PER_CLASS

Images = Sequence[tuple[str, str]]  # (URI, SHA-256)


@dataclass
class Recognising:
    """The look at one augmentation. The texts of all classes are embedded once."""

    context: Context
    dataset: Dataset
    encoder: str = ""
    texts: Array | None = None

    async def run(
        self, materials: Mapping[str, ClassMaterial], output: Output, progress: Progress
    ) -> tuple[ClassRecognition, ...]:
        """Returns the counts of every class of which an image was made; none of a single class."""
        if len(self.dataset.classes) < 2:
            return ()
        made = await asyncio.to_thread(_made, output)
        names = [name for name in materials if made.get(name)]
        count = min(PER_CLASS, max(LEAST_PER_CLASS, IN_ALL // max(len(names), 1)))
        progress.start("recognise", len(names), "classes")
        if not names:
            return ()
        labels = {one.class_name: at for at, one in enumerate(self.dataset.classes)}
        self.encoder = await step("encoder", self.context.clients.retriever.encoder)

        async def look(name: str) -> dict[str, int | str]:
            real = [(p.image_uri, p.sha256) for p in materials[name].parents[:count]]
            label = labels[name]
            return asdict(
                ClassRecognition(
                    name,
                    len(real),
                    await self._found(label, real),
                    len(made[name][:count]),
                    await self._found(label, made[name][:count]),
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
        names = [one.called for one in self.dataset.classes]
        name = digest("recognised", self.encoder, names, label, [sha for _, sha in images])
        key, store = f"recognised/{name[:2]}/{name}.json", self.context.store
        if await asyncio.to_thread(store.exists, key):
            return int(json.loads(await asyncio.to_thread(store.get, key)))
        clients = self.context.clients
        vectors = await clients.screener.embed_images([uri for uri, _ in images])
        if self.texts is None:
            texts = [shown_text(one.called) for one in self.dataset.classes]
            self.texts = await clients.retriever.embed_texts(texts)
        found = await asyncio.to_thread(_nearest, vectors, self.texts, label)
        await asyncio.to_thread(store.put, key, json.dumps(found).encode())
        return found


def _made(output: Output) -> dict[str, list[tuple[str, str]]]:
    """Returns URI and SHA-256 of accepted images of each class: those with the lowest ids."""
    rows: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for row in output.accepted("class_name", "item_id", "image_uri", "sha256"):
        some = rows[row["class_name"]]
        some.append((row["item_id"], row["image_uri"], row["sha256"]))
        if len(some) == _HELD:
            some[:] = heapq.nsmallest(PER_CLASS, some)
    return {
        name: [(uri, sha256) for _, uri, sha256 in heapq.nsmallest(PER_CLASS, some)]
        for name, some in rows.items()
    }


def _nearest(images: Array, texts: Array, label: int) -> int:
    return int((np.argmax(images @ texts.T, axis=1) == label).sum())
