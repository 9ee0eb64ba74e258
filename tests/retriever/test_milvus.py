"""The service over a real Milvus Lite: not there at start, dying, and coming back."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import grpc
import pytest
from variegate.retriever.v1 import retriever_pb2 as pb

from servicekit.statuses import from_rpc_error
from servicekit.storage import MemoryStore
from tests.retriever.conftest import SETTINGS, put_pool, serving
from tests.retriever.milvus import MilvusLite
from tests.retriever.test_create_index import error_of, index_of

pytestmark = pytest.mark.servers

QUERY = pb.Query(text="a photo of a dog")


@pytest.fixture
def milvus(tmp_path) -> Iterator[MilvusLite]:
    server = MilvusLite(tmp_path / "milvus")
    yield server
    server.kill()


async def test_milvus_answers_what_faiss_answers(
    milvus: MilvusLite, store: MemoryStore, photographs: list[bytes]
):
    milvus.start()
    pool = put_pool(store, photographs[:60])
    label = pb.Filter(column="label", between=pb.NumberRange(most=4))
    async with serving(store, replace(SETTINGS, index="milvus", milvus=milvus.uri)) as client:
        index = index_of(await client.build("remote", pool))
        assert index.kind == "Milvus"
        assert not list(store.list("indexes/remote/vectors/"))
        remote = await client.find("remote", 20, QUERY, filters=[label])
        whole = await client.find("remote", 10_000, QUERY)
    async with serving(store) as client:
        index_of(await client.build("local", pool))
        local = await client.find("local", 20, QUERY, filters=[label])
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.find("remote", 1, QUERY)
    assert [hit.image_uri for hit in remote.hits] == [hit.image_uri for hit in local.hits]
    assert len({hit.image_uri for hit in whole.hits}) == 60
    error = from_rpc_error(caught.value)
    assert (error.reason, caught.value.code()) == (
        "INDEX_KIND",
        grpc.StatusCode.FAILED_PRECONDITION,
    )
    assert "RETRIEVER_MILVUS" in error.message


async def test_a_milvus_that_is_not_there_stops_no_other_call_and_is_named(
    milvus: MilvusLite, store: MemoryStore, photographs: list[bytes]
):
    pool = put_pool(store, photographs[:20])
    async with serving(store, replace(SETTINGS, index="milvus", milvus=milvus.uri)) as client:
        await client.retriever.EmbedTexts(pb.EmbedTextsRequest(texts=["a"]), timeout=10)
        error = error_of(await client.build("web", pool))
        assert (error.code, error.reason) == (
            grpc.StatusCode.UNAVAILABLE,
            "MILVUS_UNREACHABLE",
        )
        assert milvus.uri in error.message
        await asyncio.to_thread(milvus.start)
        assert index_of(await client.build("web", pool)).image_count == 20


async def test_a_milvus_that_dies_is_unavailable_and_nothing_is_lost(
    milvus: MilvusLite, store: MemoryStore, photographs: list[bytes]
):
    milvus.start()
    pool = put_pool(store, photographs[:30])
    async with serving(store, replace(SETTINGS, index="milvus", milvus=milvus.uri)) as client:
        index_of(await client.build("web", pool))
        before = await client.find("web", 10, QUERY)
        milvus.kill()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.retriever.SearchImages(
                pb.SearchImagesRequest(index="indexes/web", queries=[QUERY], hit_count=10),
                timeout=20,
            )
        assert caught.value.code() in (
            grpc.StatusCode.UNAVAILABLE,
            grpc.StatusCode.DEADLINE_EXCEEDED,
        )
        assert from_rpc_error(caught.value).reason == "MILVUS_UNREACHABLE"
        await asyncio.to_thread(milvus.start)
        assert await client.find("web", 10, QUERY) == before
