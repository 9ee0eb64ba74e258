"""Embeddings of a class: only the batches that are asked for are read, and few are kept."""

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest

from gateway.clients.generator import IMAGES_PER_CALL, PROMPTS_PER_CALL
from gateway.datasets.manifest import DatasetItem
from gateway.mixing import mvc
from gateway.plan import ModelInfo
from gateway.run.embeddings import Embeddings
from servicekit.storage import MemoryStore

SHAPE = (64, 64)  # 16 KiB a text, 256 KiB a batch.
TEXTS = tuple(f"caption {number}" for number in range(500))


class Encoders:
    """Encodes a text or an image as an array that only it gives, and counts."""

    def __init__(self):
        self.batches = []

    async def encode_prompts(self, model, prompts):
        self.batches.append(list(prompts))
        await asyncio.sleep(0)
        return np.stack([np.full(SHAPE, TEXTS.index(one), np.float32) for one in prompts])

    async def encode_images(self, model, uris):
        self.batches.append(list(uris))
        return np.stack([np.full(8, int(uri.rpartition("-")[2]), np.float32) for uri in uris])


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
        model = ModelInfo("m", "text", "digest", "t", SHAPE, "i", 8, 3, 2.0)
        return Embeddings(context, model)


@pytest.fixture
def setting():
    return Setting()


async def test_ten_rows_of_a_large_class_read_their_batches_only(setting):
    rows = [3, 499, 250, 3, 16, 17]
    found = await setting.embeddings().of_texts(TEXTS, rows)
    assert found[:, 0, 0].tolist() == rows
    firsts = {row // PROMPTS_PER_CALL * PROMPTS_PER_CALL for row in rows}
    assert {TEXTS.index(batch[0]) for batch in setting.encoders.batches} == firsts
    again = await setting.embeddings().of_texts(TEXTS, rows)
    assert np.array_equal(found, again)
    assert len(setting.encoders.batches) == len(firsts) == setting.store.reads


async def test_memory_is_bounded_and_what_is_in_it_is_not_read_again(setting):
    embeddings = setting.embeddings(memory_mib=1)
    everything = await embeddings.of_texts(TEXTS, range(len(TEXTS)))
    assert everything[:, 5, 5].tolist() == list(range(len(TEXTS)))
    assert embeddings._bytes == sum(a.nbytes for a in embeddings._memory.values()) <= 2**20
    before = setting.store.reads
    await embeddings.of_texts(TEXTS, [499])
    assert setting.store.reads == before, "the newest are kept"
    await embeddings.of_texts(TEXTS, [0])
    assert setting.store.reads == before + 1
    assert not embeddings._making


async def test_callers_at_the_same_time_make_a_batch_once(setting):
    embeddings = setting.embeddings()
    found = await asyncio.gather(*(embeddings.of_texts(TEXTS, [number]) for number in range(16)))
    assert [int(one[0, 0, 0]) for one in found] == list(range(16))
    assert len(setting.encoders.batches) == 1


async def test_images_come_from_their_batches_too(setting):
    images = [
        DatasetItem(f"i{n}", f"store:image-{n}", 0, "cat", "train", f"sha{n}", 8, 8, f"{n}.png")
        for n in range(200)
    ]
    found = await setting.embeddings().of_images(images, [199, 0])
    assert found[:, 0].tolist() == [199, 0]
    assert [len(batch) for batch in setting.encoders.batches] == [IMAGES_PER_CALL, 200 % 64]


@pytest.mark.parametrize("count", [1, 2, 300])
def test_a_mix_of_the_captions_it_uses_is_the_mix_of_all(count):
    random = np.random.default_rng(count)
    captions = random.standard_normal((count, 6, 8)).astype(np.float32)
    for seed in range(50):
        mixes = mvc.draw(np.array([seed], np.uint64), caption_count=count, shape=(6, 8))
        rows, compact = mvc.compact(mixes)
        assert len(rows) <= 11
        assert np.array_equal(mvc.mix(captions, mixes), mvc.mix(captions[rows], compact))
