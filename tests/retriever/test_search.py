"""SearchImages over a real server."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import grpc
import numpy as np
import pyarrow.parquet as pq
import pytest
from variegate.retriever.v1 import retriever_pb2 as pb

from servicekit.statuses import from_rpc_error
from servicekit.storage import MemoryStore
from tests.retriever.conftest import NANO, SETTINGS, Client, put_image, put_pool, put_table, serving


async def test_text_image_and_embedding_queries_are_answered_in_one_call(
    client: Client, photographs: list[bytes]
):
    await client.build("web", put_pool(client.store, photographs[:60]))
    uri = put_image(client.store, photographs[7])
    embedded = await client.retriever.EmbedTexts(pb.EmbedTextsRequest(texts=["a ship"]), timeout=5)
    by_text, by_image, by_embedding = await client.search(
        "web",
        5,
        pb.Query(text="a ship"),
        pb.Query(image_uri=uri),
        pb.Query(embedding=embedded.embeddings[0]),
    )
    assert [hit.image_uri for hit in by_text] == [hit.image_uri for hit in by_embedding]
    assert by_image[0].caption == "photograph 7"
    assert by_image[0].similarity == pytest.approx(1.0, abs=1e-4)
    assert by_image[0].sha256 in by_image[0].image_uri
    for hits in (by_text, by_image, by_embedding):
        similarities = [hit.similarity for hit in hits]
        assert len(hits) == 5 and similarities == sorted(similarities, reverse=True)


async def test_more_hits_than_the_pool_holds_answers_the_whole_pool(
    client: Client, photographs: list[bytes]
):
    await client.build("small", put_pool(client.store, photographs[:6]))
    (hits,) = await client.search("small", 10_000, pb.Query(text="anything"))
    assert len({hit.image_uri for hit in hits}) == 6


async def test_equal_images_are_in_order_of_the_pool(client: Client, photographs: list[bytes]):
    await client.build("twins", put_pool(client.store, [photographs[0]] * 5))
    (hits,) = await client.search("twins", 3, pb.Query(text="a dog"))
    assert [hit.caption for hit in hits] == ["photograph 0", "photograph 1", "photograph 2"]


def embedding(values: list[float] | np.ndarray, encoder: str) -> pb.Query:
    data = np.asarray(values, "<f4").tobytes()
    return pb.Query(embedding=pb.Embedding(data=data, encoder=encoder))


async def test_embeddings_that_do_not_belong_are_refused_and_both_sides_named(
    client: Client, photographs: list[bytes]
):
    operation = await client.build("web", put_pool(client.store, photographs[:4]))
    index = pb.Index()
    operation.response.Unpack(index)
    unit = np.eye(1, index.dimension)[0]
    refused = {
        "ENCODER_MISMATCH": embedding(unit, "other@1"),
        "DIMENSION_MISMATCH": embedding(unit[:-1], index.encoder),
        "NOT_FINITE": embedding(unit * np.nan, index.encoder),
    }
    for reason, query in refused.items():
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.search("web", 1, pb.Query(text="fine"), query)
        error = from_rpc_error(caught.value)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert (error.reason, error.field) == (reason, "queries[1].embedding")
        assert "indexes/web" in error.message or index.encoder in error.message
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.search("web", 1, refused["ENCODER_MISMATCH"])
    assert "other@1" in caught.value.details() and index.encoder in caught.value.details()


async def test_an_index_that_is_not_there_is_not_found(client: Client):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.search("none", 1, pb.Query(text="a dog"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert from_rpc_error(caught.value).resource == "indexes/none"


async def test_an_index_of_another_encoder_is_refused_naming_both(
    store: MemoryStore, photographs: list[bytes], tmp_path: Path
):
    pool = put_pool(store, photographs[:4])
    async with serving(store) as client:
        await client.build("old", pool)
    folder = tmp_path / "newer"
    shutil.copytree(SETTINGS.clip, folder)
    config = json.loads((folder / "open_clip_config.json").read_text())
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=1))
    async with serving(store, replace(SETTINGS, clip=folder)) as client:
        for call in (client.search("old", 1, pb.Query(text="a dog")), client.build("old", pool)):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            error = from_rpc_error(caught.value)
            assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert error.reason == "ENCODER_MISMATCH"
            assert "clip@" in error.message and "newer@" in error.message


async def test_an_answer_that_no_message_holds_is_refused_with_the_remedy(
    client: Client, photographs: list[bytes]
):
    uris: list[object] = [put_image(client.store, data) for data in photographs[:20]]
    columns = {"image_uri": uris, "caption": ["a long caption " * 300] * 20}
    await client.build("web", put_table(client.store, "pools/long.parquet", columns))
    queries = [pb.Query(text=f"text {number}") for number in range(64)]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.search("web", 20, *queries)
    assert from_rpc_error(caught.value).reason == "RESPONSE_TOO_LARGE"


async def test_indexes_are_found_again_by_a_new_process(
    store: MemoryStore, photographs: list[bytes]
):
    async with serving(store) as client:
        await client.build("kept", put_pool(store, photographs[:20]))
        before = await client.search("kept", 20, pb.Query(text="a truck"))
    async with serving(store) as client:
        assert await client.search("kept", 20, pb.Query(text="a truck")) == before


async def test_no_query_and_no_hits_are_refused(client: Client):
    for query, count in ((pb.Query(), 1), (pb.Query(text="a"), 0), (pb.Query(text="a"), 10_001)):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.search("web", count, query)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_texts_find_photographs_of_what_they_name(client: Client):
    table = pq.read_table(NANO / "demo" / "pool.parquet").take(list(range(0, 10_000, 50)))
    rows = table.to_pylist()
    await client.build("demo", put_table(client.store, "pools/demo.parquet", table))
    class_of = {row["caption"]: row["class_name"] for row in rows}
    names = sorted(set(class_of.values()))
    queries = [pb.Query(text=f"a photo of a {name}") for name in names]
    results = await client.search("demo", 10, *queries)
    right = sum(
        class_of[hit.caption] == name
        for name, hits in zip(names, results, strict=True)
        for hit in hits
    )
    assert right / (10 * len(names)) > 0.5  # a tenth by chance
