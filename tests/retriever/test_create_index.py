"""CreateIndex as an operation: pools of all kinds, failures, resuming."""

import asyncio
import threading
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from google.longrunning import operations_pb2
from variegate.retriever.v1 import retriever_pb2 as pb

from servicekit.errors import ServiceError, Unavailable
from servicekit.statuses import from_rpc_error, from_status
from servicekit.storage import DirectoryStore, MemoryStore, to_uri
from tests.retriever.conftest import SETTINGS, Client, put_image, put_pool, put_table, serving


def index_of(operation: operations_pb2.Operation) -> pb.Index:
    assert operation.done and not operation.HasField("error"), operation
    index = pb.Index()
    assert operation.response.Unpack(index)
    return index


def error_of(operation: operations_pb2.Operation) -> ServiceError:
    assert operation.HasField("error"), operation
    return from_status(operation.error)


async def test_a_pool_of_bytes_becomes_an_index_and_its_images_become_objects(
    client: Client, photographs: list[bytes]
):
    pool = put_pool(client.store, photographs[:50])
    index = index_of(await client.build("web", pool))
    assert (index.name, index.pool_uri, index.image_count) == ("indexes/web", pool, 50)
    assert (index.kind, len(index.digest)) == ("Flat", 64)
    assert len([key for key in client.store.list("images/") if key.endswith(".jpg")]) == 50
    assert await client.retriever.GetIndex(pb.GetIndexRequest(name=index.name), timeout=5) == index
    assert not list(client.store.list("indexes/web/shards/"))


async def test_a_pool_of_uris_needs_no_other_column(client: Client, photographs: list[bytes]):
    uris = [put_image(client.store, data) for data in photographs[:5]]
    pool = put_table(client.store, "pools/uris.parquet", {"image_uri": list(uris)})
    assert index_of(await client.build("uris", pool)).image_count == 5
    (hits,) = await client.search("uris", 5, pb.Query(image_uri=uris[3]))
    assert (hits[0].image_uri, hits[0].caption) == (uris[3], "")


async def test_images_that_cannot_be_read_are_counted_and_left_out(
    client: Client, photographs: list[bytes]
):
    files = [photographs[0], b"no image", photographs[1], None, b"", photographs[2][:-200]]
    operation = await client.build("gaps", put_pool(client.store, files))
    metadata = pb.CreateIndexMetadata()
    assert operation.metadata.Unpack(metadata)
    assert (metadata.done_count, metadata.failed_count, metadata.total_count) == (2, 4, 6)
    assert index_of(operation).image_count == 2
    (hits,) = await client.search("gaps", 9, pb.Query(text="a dog"))
    assert sorted(hit.caption for hit in hits) == ["photograph 0", "photograph 2"]


async def test_pools_without_images_fail_with_a_sentence(client: Client):
    empty = put_table(client.store, "pools/empty.parquet", {"image_uri": []})
    bad = put_pool(client.store, [b"no image", None], "bad")
    for index_id, pool in (("empty", empty), ("bad", bad)):
        error = error_of(await client.build(index_id, pool))
        assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "EMPTY_POOL")
        assert pool in error.message


async def test_what_is_not_a_pool_fails_with_a_sentence(client: Client):
    client.store.put("pools/text.parquet", b"hello")
    columns = put_table(client.store, "pools/other.parquet", {"name": ["a"]})
    reasons = {
        to_uri("pools/text.parquet"): "NOT_PARQUET",
        columns: "POOL_COLUMNS",
        to_uri("pools/none.parquet"): "NOT_FOUND",
    }
    for number, (pool, reason) in enumerate(reasons.items()):
        assert error_of(await client.build(f"bad{number}", pool)).reason == reason


async def test_a_local_path_is_no_pool(client: Client):
    request = pb.CreateIndexRequest(index_id="local", pool_uri="/tmp/pool.parquet")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.retriever.CreateIndex(request, timeout=5)
    assert from_rpc_error(caught.value).field == "pool_uri"


async def test_the_same_request_again_answers_the_same_operation_and_another_pool_is_refused(
    client: Client, photographs: list[bytes]
):
    pool = put_pool(client.store, photographs[:4])
    first, second = await client.build("again", pool), await client.build("again", pool)
    assert first == second
    other = put_pool(client.store, photographs[:5], "other")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.build("again", other)
    assert caught.value.code() is grpc.StatusCode.ALREADY_EXISTS


async def test_equal_pools_give_equal_digests_and_different_ones_do_not(
    client: Client, photographs: list[bytes]
):
    pool, other = (put_pool(client.store, photographs[:n], f"p{n}") for n in (4, 5))
    digests = [
        index_of(await client.build(*arguments)).digest
        for arguments in (("one", pool), ("two", pool), ("three", other))
    ]
    assert digests[0] == digests[1] != digests[2]


class StallingStore(DirectoryStore):
    """A store that counts shards, and stalls at the third until its process is gone."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, durable=False)
        self.shards_written = 0
        self.stalled, self.gone = threading.Event(), threading.Event()

    def put(self, key: str, data: bytes, *, overwrite: bool = False) -> bool:
        if "/shards/" in key:
            if self.shards_written == 2 and not self.gone.is_set():
                self.stalled.set()
                self.gone.wait()
                raise Unavailable("the plug is pulled")
            self.shards_written += 1
        return super().put(key, data, overwrite=overwrite)


async def test_an_interrupted_build_goes_on_at_the_next_shard(tmp_path, photographs: list[bytes]):
    store = StallingStore(tmp_path)
    pool = put_pool(store, photographs[:40])
    request = pb.CreateIndexRequest(index_id="cut", pool_uri=pool)
    async with serving(store) as client:
        await client.retriever.CreateIndex(request, timeout=30)
        assert await asyncio.to_thread(store.stalled.wait, 60)
    store.gone.set()
    assert not store.exists("indexes/cut/index.json")
    async with serving(store) as client:
        resumed = index_of(await client.build("cut", pool))
        straight = index_of(await client.build("straight", pool))
    assert store.shards_written == 5 + 5  # 40 images in shards of 8: none was made twice
    assert (resumed.image_count, resumed.digest) == (40, straight.digest)


async def test_large_pools_get_an_approximate_index(store: MemoryStore, photographs: list[bytes]):
    settings = replace(SETTINGS, flat_limit=40)
    async with serving(store, settings) as client:
        index = index_of(await client.build("large", put_pool(store, photographs[:60])))
        assert index.kind == "IVF-PQ"
        (hits,) = await client.search("large", 1000, pb.Query(text="a cat"))
        assert len({hit.image_uri for hit in hits}) == 60


async def test_indexes_are_listed_by_name_in_pages(client: Client, photographs: list[bytes]):
    pool = put_pool(client.store, photographs[:2])
    for index_id in ("b", "c", "a"):
        await client.build(index_id, pool)
    first = await client.retriever.ListIndexes(pb.ListIndexesRequest(page_size=2), timeout=5)
    rest = await client.retriever.ListIndexes(
        pb.ListIndexesRequest(page_size=2, page_token=first.next_page_token), timeout=5
    )
    assert [index.name for index in first.indexes] == ["indexes/a", "indexes/b"]
    assert [index.name for index in rest.indexes] == ["indexes/c"]
    assert rest.next_page_token == ""
