"""Embeddings of a class's images: only the batches that are asked for are read, few are kept."""

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest

from gateway.augment.embeddings import Embeddings
from gateway.clients.generator import IMAGES_PER_CALL
from gateway.datasets.manifest import DatasetItem
from gateway.plan import GeneratorModel
from servicekit.storage import MemoryStore

DIMENSION = 1024  # 4 KiB an image, 256 KiB a batch.
IMAGES = [
    DatasetItem(f"i{n}", f"store:image-{n}", 0, "cat", "train", f"sha{n}", 8, 8, f"{n}.png")
    for n in range(500)
]


class Encoders:
    """Encodes an image as an array that only it gives, and counts."""

    def __init__(self):
        self.batches = []

    async def encode_images(self, model, uris):
        numbers = [int(uri.rpartition("-")[2]) for uri in uris]
        self.batches.append(numbers)
        await asyncio.sleep(0)
        return np.stack([np.full(DIMENSION, number, np.float32) for number in numbers])


class Counting(MemoryStore):
    def __init__(self):
        super().__init__()
        self.reads = 0

    def get(self, key):
        self.reads += 1
        return super().get(key)


@dataclass
class Setting:
    store: Counting = field(default_factory=Counting)
    encoders: Encoders = field(default_factory=Encoders)

    def embeddings(self, memory_mib=1):
        context = SimpleNamespace(
            store=self.store,
            clients=SimpleNamespace(generator=self.encoders),
            settings=SimpleNamespace(memory_mib=memory_mib),
        )
        model = GeneratorModel("m", "text", "digest", "t", (4, 4), "i", DIMENSION, 3, 2.0)
        return Embeddings(context, model)


@pytest.fixture
def setting():
    return Setting()


async def test_ten_rows_of_a_large_class_read_their_batches_only(setting):
    rows = [3, 499, 250, 3, 16, 17]
    found = await setting.embeddings().of_images(IMAGES, rows)
    assert found[:, 0].tolist() == rows
    firsts = {row // IMAGES_PER_CALL * IMAGES_PER_CALL for row in rows}
    assert {batch[0] for batch in setting.encoders.batches} == firsts
    again = await setting.embeddings().of_images(IMAGES, rows)
    assert np.array_equal(found, again)
    assert len(setting.encoders.batches) == len(firsts) == setting.store.reads


async def test_memory_is_bounded_and_what_is_in_it_is_not_read_again(setting):
    embeddings = setting.embeddings(memory_mib=1)
    everything = await embeddings.of_images(IMAGES, range(len(IMAGES)))
    assert everything[:, 5].tolist() == list(range(len(IMAGES)))
    assert embeddings._bytes == sum(a.nbytes for a in embeddings._memory.values()) <= 2**20
    before = setting.store.reads
    await embeddings.of_images(IMAGES, [499])
    assert setting.store.reads == before, "the newest are kept"
    await embeddings.of_images(IMAGES, [0])
    assert setting.store.reads == before + 1
    assert not embeddings._making


async def test_callers_at_the_same_time_make_a_batch_once(setting):
    embeddings = setting.embeddings()
    found = await asyncio.gather(*(embeddings.of_images(IMAGES, [number]) for number in range(16)))
    assert [int(one[0, 0]) for one in found] == list(range(16))
    assert len(setting.encoders.batches) == 1
