"""CreateIndex in a process that is killed: what was there stays, nothing half-made is served, and
the same request again makes the index."""

import asyncio
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from google.longrunning import operations_pb2
from variegate.retriever.v1 import retriever_pb2 as pb

from retriever.settings import RetrieverSettings
from servicekit.storage import DirectoryStore
from tests.retriever.conftest import SETTINGS, Client, put_pool, serving
from tests.retriever.test_create_index import index_of

QUERY = pb.Query(text="a photo of a dog")
IMAGES = 40
PARTS = IMAGES // SETTINGS.shard_size
# The puts after which the process is killed, by a word of the key and its number among them.
HALF_MADE = {
    "the third part": ("/shards/", 3),
    "the vectors": ("indexes/new/vectors/", 1),
    "the metadata": ("indexes/new/metadata/", 1),
    "the prepared index": ("prepared.bin", 1),
}


class CountingStore(DirectoryStore):
    """A store that counts the parts that are put."""

    parts_put = 0

    def put(self, key: str, data: bytes, *, overwrite: bool = False) -> bool:
        self.parts_put += "/shards/" in key
        return super().put(key, data, overwrite=overwrite)


@dataclass(frozen=True)
class Place:
    """A state folder with a pool and the index "old" of it, built by a server that ended well."""

    store: CountingStore
    settings: RetrieverSettings
    pool: str
    old: pb.Index
    hits: list[pb.Hit]

    async def kill_a_build(self, root: Path, word: str, count: int) -> None:
        """Builds the index "new" in a process that is killed at a put."""
        arguments = [str(root), str(self.settings.cache), self.pool, word, str(count)]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.retriever.killed", *arguments
        )
        assert await asyncio.wait_for(process.wait(), 120) == -9, "it was not killed"

    async def check_old(self, client: Client) -> None:
        """Asserts that the old index is what it was."""
        get = pb.GetIndexRequest(name="indexes/old")
        assert await client.retriever.GetIndex(get, timeout=9) == self.old
        assert (await client.search("old", 9, QUERY))[0] == self.hits

    def parts(self) -> list[str]:
        """Returns the keys of the parts that a build of "new" left."""
        return list(self.store.list("indexes/new/shards/"))


@pytest.fixture
async def place(tmp_path: Path, photographs: list[bytes]) -> Place:
    store = CountingStore(tmp_path / "store")
    settings = replace(SETTINGS, cache=tmp_path / "cache")
    pool = put_pool(store, photographs[:IMAGES])
    async with serving(store, settings) as client:
        old = index_of(await client.build("old", pool))
        (hits,) = await client.search("old", 9, QUERY)
    return Place(store, settings, pool, old, hits)


@pytest.mark.parametrize("moment", HALF_MADE)
async def test_a_killed_build_is_served_by_nobody_and_made_by_the_same_request(
    place: Place, tmp_path: Path, moment: str, fails
):
    await place.kill_a_build(tmp_path / "store", *HALF_MADE[moment])
    kept, put = len(place.parts()), place.store.parts_put
    assert 3 <= kept <= PARTS
    async with serving(place.store, place.settings) as client:
        await place.check_old(client)
        listed = await client.retriever.ListIndexes(pb.ListIndexesRequest(), timeout=9)
        assert [index.name for index in listed.indexes] == ["indexes/old"]
        search = pb.SearchImagesRequest(index="indexes/new", queries=[QUERY], hit_count=1)
        error = await fails(client.retriever.SearchImages(search, timeout=9))
        assert (error.code.name, error.reason) == ("NOT_FOUND", "INDEX_NOT_FOUND")
        get = operations_pb2.GetOperationRequest(name="operations/retriever-new")
        assert not (await client.operations.GetOperation(get, timeout=9)).done
        made = index_of(await client.build("new", place.pool))
        assert (made.image_count, made.digest) == (IMAGES, place.old.digest)
        assert (await client.search("new", 9, QUERY))[0] == place.hits
        await place.check_old(client)
    assert place.store.parts_put - put == PARTS - kept, "what was embedded is not embedded again"
    assert not place.parts()


async def test_a_build_that_is_killed_once_its_index_is_whole_leaves_no_parts(
    place: Place, tmp_path: Path
):
    await place.kill_a_build(tmp_path / "store", "indexes/new/index.json", 1)
    assert len(place.parts()) == PARTS
    async with serving(place.store, place.settings) as client:
        assert (await client.search("new", 9, QUERY))[0] == place.hits
        made = index_of(await client.build("new", place.pool))
        assert made.digest == place.old.digest
        await place.check_old(client)
    assert not place.parts()
