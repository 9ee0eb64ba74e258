"""Searches with conditions on what the pool knows of its images."""

import grpc
import pyarrow as pa
import pytest
from variegate.retriever.v1 import retriever_pb2 as pb

from retriever import metadata
from retriever.metadata import Containing, Filter, Metadata
from retriever.tables import TEXT
from servicekit.statuses import from_rpc_error
from tests.retriever.conftest import Client, put_table


async def build(client: Client, photographs: list[bytes]) -> None:
    """An index of 40: aesthetic 0 to 9.75, unsafe 0.0 to 0.3, two licences and one unknown."""
    rows = range(40)
    table = pa.table(
        {
            "image": [{"bytes": photographs[row], "path": ""} for row in rows],
            "caption": [f"A {'Dog' if row % 2 else 'cat'} number {row}" for row in rows],
            "aesthetic": [row / 4 for row in rows],
            "punsafe": [row % 4 / 10 for row in rows],
            "license": [("CC0", "CC-BY", None)[row % 3] for row in rows],
            "adult": [row == 7 for row in rows],
        }
    )
    await client.build("web", put_table(client.store, "pools/web.parquet", table))


def between(column: str, **ends: float) -> pb.Filter:
    return pb.Filter(column=column, between=pb.NumberRange(**ends))


async def numbers(client: Client, *filters: pb.Filter, hits: int = 100) -> list[int]:
    """Returns the numbers in the captions of the hits."""
    found = await client.find("web", hits, pb.Query(text="a dog"), filters=filters)
    similarities = [hit.similarity for hit in found.hits]
    assert similarities == sorted(similarities, reverse=True)
    return sorted(int(hit.caption.rpartition(" ")[2]) for hit in found.hits)


async def test_filters_hold_for_every_hit_and_leave_out_nothing_else(
    client: Client, photographs: list[bytes]
):
    await build(client, photographs)
    aesthetic = between("aesthetic", least=5)
    safe = between("punsafe", most=0.1)
    free = pb.Filter(column="license", one_of=pb.TextSet(texts=["CC0", "CC-BY"]))
    dogs = pb.Filter(column="caption", containing="dog")
    assert await numbers(client, aesthetic) == list(range(20, 40))
    assert await numbers(client, safe) == [row for row in range(40) if row % 4 < 2]
    assert await numbers(client, free) == [row for row in range(40) if row % 3 < 2]
    assert await numbers(client, dogs) == list(range(1, 40, 2))
    assert await numbers(client, between("adult", least=1)) == [7]
    assert await numbers(client, between("aesthetic", least=2.5, most=2.5)) == [10]
    everything = await numbers(client, aesthetic, safe, free, dogs)
    assert everything == [row for row in range(21, 40, 4) if row % 3 < 2]
    assert len(await numbers(client, aesthetic, hits=5)) == 5
    assert await numbers(client, between("aesthetic", least=100)) == []


async def test_sizes_are_columns_of_every_pool(client: Client, photographs: list[bytes]):
    await build(client, photographs)
    assert len(await numbers(client, between("width", least=32))) == 40
    assert await numbers(client, between("height", least=33)) == []


async def test_a_column_that_the_pool_lacks_is_named_with_those_it_has(
    client: Client, photographs: list[bytes]
):
    await build(client, photographs)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await numbers(client, between("width", least=1), between("beauty", least=1))
    error = from_rpc_error(caught.value)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (error.reason, error.field) == ("UNKNOWN_COLUMN", "filters[1].column")
    assert "'beauty'" in error.message and "adult, aesthetic, caption" in error.message


async def test_conditions_that_do_not_fit_are_refused(client: Client, photographs: list[bytes]):
    await build(client, photographs)
    refused = {
        "COLUMN_KIND": [
            pb.Filter(column="aesthetic", containing="5"),
            between("license", least=1),
        ],
        "NOT_FINITE": [between("aesthetic", least=float("nan"))],
    }
    for reason, filters in refused.items():
        for one in filters:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await numbers(client, one)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert from_rpc_error(caught.value).reason == reason
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await numbers(client, pb.Filter(column="license"))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_rows_are_taken_across_batches_in_the_order_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(metadata, "PART_ROWS", 10)
    table = pa.table({"caption": [f"text {row}" for row in range(35)]})
    with pa.OSFile(str(tmp_path / "m"), "wb") as file, pa.ipc.new_file(file, table.schema) as out:
        out.write_table(table, max_chunksize=10)
    found = Metadata(tmp_path / "m", {"caption": TEXT})
    rows = [34, 0, 10, 9, 10, 29, 30]
    assert found.take(rows, ["caption"]) == {"caption": [f"text {row}" for row in rows]}
    assert found.take([], ["caption"]) == {"caption": []}
    some = found.matching([Filter("caption", Containing("T 3"))])
    assert some is not None and some.tolist() == [3, 30, 31, 32, 33, 34]
    assert found.matching([]) is None
