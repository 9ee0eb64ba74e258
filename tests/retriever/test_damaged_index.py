"""An index whose objects are damaged in the store is named, and is no riddle in a log."""

from dataclasses import replace

import grpc
import pytest
from variegate.retriever.v1 import retriever_pb2 as pb

from servicekit.statuses import from_rpc_error
from servicekit.storage import MemoryStore
from tests.retriever.conftest import SETTINGS, put_pool, serving


@pytest.mark.parametrize("part", ["vectors/00000.f32", "metadata/00000.parquet", "prepared.bin"])
@pytest.mark.parametrize("is_lost", [True, False], ids=["lost", "cut off"])
async def test_a_damaged_index_says_so(tmp_path, photographs, part, is_lost):
    store, key = MemoryStore(), f"indexes/web/{part}"
    settings = replace(SETTINGS, cache=tmp_path / "first", flat_limit=10)
    async with serving(store, settings) as client:
        await client.build("web", put_pool(store, photographs[:200]))
    whole = store.get(key)
    store.delete(key)
    if not is_lost:
        store.put(key, whole[: len(whole) // 2])
    async with serving(store, replace(settings, cache=tmp_path / "second")) as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.search("web", 1, pb.Query(text="a dog"))
        error = from_rpc_error(caught.value)
        assert (error.code, error.reason) == (grpc.StatusCode.INTERNAL, "INDEX_DAMAGED")
        assert "indexes/web is damaged" in error.message
        assert "make it again under another id" in error.message
