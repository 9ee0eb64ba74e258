"""Embeds texts and images for many callers at once: micro-batches over one encoder."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from retriever.encoder import Encoder, Prepared, Vectors
from servicekit.batching import BatchStats, MicroBatcher
from servicekit.together import together
from servicekit.workload import Workload

Vector = NDArray[np.float32]


@dataclass(frozen=True)
class _Item:
    tower: Literal["text", "image"]
    prepared: Prepared


class Embedder:
    """An encoder shared by concurrent callers.

    Single texts and images of many callers meet in one batch, a large request is split into
    several. Raises Exhausted when more than `max_queue` items wait.
    """

    def __init__(
        self, encoder: Encoder, *, max_batch: int, max_wait_seconds: float, max_queue: int
    ) -> None:
        self._encoder = encoder
        self._batcher: MicroBatcher[_Item, Vector] = MicroBatcher(
            self._run,
            max_batch=max_batch,
            max_wait_seconds=max_wait_seconds,
            max_queue=max_queue,
            name="clip",
            key=lambda item: item.tower,
        )
        self.max_batch = max_batch

    @property
    def encoder_id(self) -> str:
        return self._encoder.id

    @property
    def encoder_device(self) -> str:
        """The kind of device that it runs on."""
        return self._encoder.device

    @property
    def dimension(self) -> int:
        return self._encoder.dimension

    async def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Returns unit vectors [n, dimension], in order."""
        prepared = await asyncio.to_thread(self._encoder.prepare_texts, texts)
        return await self._submit([_Item("text", one) for one in prepared])

    async def cut_texts(self, texts: Sequence[str]) -> list[int]:
        """Returns the positions of the texts whose ends the encoder cuts."""
        return await asyncio.to_thread(self._encoder.cut_texts, texts)

    async def embed_images(self, images: Sequence[Image.Image]) -> Vectors:
        """Returns unit vectors [n, dimension] of RGB images, in order."""
        prepared = await asyncio.to_thread(self._encoder.prepare_images, images)
        return await self._submit([_Item("image", one) for one in prepared])

    def stats(self) -> BatchStats:
        """Returns how many items and batches the encoder has seen."""
        return self._batcher.stats()

    def workload(self) -> Workload:
        """Returns what the encoder has to do now."""
        return self._batcher.workload()

    async def close(self) -> None:
        """Finishes the running batch and refuses what waits."""
        await self._batcher.close()

    async def _submit(self, items: Sequence[_Item]) -> Vectors:
        if not items:
            return np.zeros((0, self.dimension), np.float32)
        return np.stack(await together(self._batcher.submit(item) for item in items))

    def _run(self, items: Sequence[_Item]) -> Sequence[Vector]:
        prepared = [item.prepared for item in items]
        if items[0].tower == "text":
            return list(self._encoder.encode_texts(prepared))
        return list(self._encoder.encode_images(prepared))
