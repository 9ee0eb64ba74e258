"""Draws of images, and the classes that they are drawn from, in every form of pool."""

import json

import grpc
import pyarrow as pa
import pytest
from variegate.retriever.v1 import retriever_pb2 as pb

from servicekit.statuses import from_rpc_error
from tests.retriever.conftest import Client, put_pool, put_table
from tests.retriever.test_create_index import index_of
from tests.retriever.test_pools import tar_of


async def drawn(client: Client, index_id: str, count: int = 1000, **more) -> list[str]:
    request = pb.SampleImagesRequest(index=f"indexes/{index_id}", image_count=count, **more)
    answer = await client.retriever.SampleImages(request, timeout=30)
    return [image.image_uri for image in answer.images]


def named(*names: str) -> list[pb.Filter]:
    return [pb.Filter(column="class_name", one_of=pb.TextSet(texts=names))]


def numbered(number: int) -> list[pb.Filter]:
    return [pb.Filter(column="label", between=pb.NumberRange(least=number, most=number))]


async def test_a_draw_is_decided_by_its_seed_and_goes_on_where_it_stopped(
    client: Client, photographs: list[bytes]
):
    await client.build("pool", put_pool(client.store, photographs[:40]))
    everything = await drawn(client, "pool", seed=1)
    assert len(set(everything)) == 40
    assert await drawn(client, "pool", 7, seed=1) == everything[:7]
    assert await drawn(client, "pool", 7, skip_count=7, seed=1) == everything[7:14]
    assert await drawn(client, "pool", 7, skip_count=40, seed=1) == []
    other = await drawn(client, "pool", seed=2**64 - 1)
    assert other != everything and set(other) == set(everything)


async def test_a_draw_keeps_to_its_filters(client: Client, photographs: list[bytes]):
    await client.build("pool", put_pool(client.store, photographs[:40]))
    threes = await drawn(client, "pool", filters=named("class 3"))
    assert len(threes) == 4
    assert set(threes) == set(await drawn(client, "pool", filters=numbered(3), seed=5))
    assert await drawn(client, "pool", filters=named("unicorn")) == []
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await drawn(client, "pool", filters=[pb.Filter(column="beauty", containing="x")])
    assert from_rpc_error(caught.value).reason == "UNKNOWN_COLUMN"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await drawn(client, "nowhere")
    assert from_rpc_error(caught.value).reason == "INDEX_NOT_FOUND"


async def test_archives_name_classes_in_every_way_that_is_usual(
    client: Client, photographs: list[bytes]
):
    files = {
        "00/a.jpg": photographs[0], "00/a.cls": b"3",
        "00/b.jpg": photographs[1], "00/b.cls": b"fire truck\n",
        "00/c.jpg": photographs[2], "00/c.json": json.dumps({"class_name": "cat"}).encode(),
        "00/d.jpg": photographs[3], "00/d.json": json.dumps({"label": "cat"}).encode(),
        "00/e.jpg": photographs[4], "00/e.json": json.dumps({"label": 3}).encode(),
        "./cat/f.jpg": photographs[5],
        "train/dog/g.jpg": photographs[6], "train/dog/g.cls": b"7",
        "h.jpg": photographs[7],
    }  # fmt: skip
    client.store.put("shards/0.tar", tar_of(files))
    await client.build("tar", "store:shards")
    counts = {
        name: len(await drawn(client, "tar", filters=named(name)))
        for name in ("cat", "dog", "fire truck", "")
    }
    assert counts == {"cat": 3, "dog": 1, "fire truck": 1, "": 3}
    assert len(await drawn(client, "tar", filters=numbered(3))) == 2
    assert len(await drawn(client, "tar", filters=numbered(7))) == 1


@pytest.mark.parametrize(
    ("labels", "filters"),
    [
        (["dog", "cat", "dog"], named("dog")),
        (["1", "0", "1"], numbered(1)),
        ([1.0, float("nan"), 1.0], numbered(1)),
        ([b"dog", b"c\xe4t", b"dog"], named("dog")),
        (pa.array(["dog", None, " dog "]).dictionary_encode(), named("dog")),
    ],
)
async def test_a_label_column_of_any_type_is_read(
    client: Client, photographs: list[bytes], labels, filters
):
    columns = {"image": [{"bytes": data} for data in photographs[:3]], "label": labels}
    await client.build("table", put_table(client.store, "p.parquet", columns))
    assert len(await drawn(client, "table", filters=filters)) == 2


async def test_numbers_of_a_pool_get_their_names_from_its_schema(
    client: Client, photographs: list[bytes]
):
    features = {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
    images = [{"bytes": data} for data in photographs[:4]]
    table = pa.table({"image": images, "label": [1, 0, 1, 9]})
    metadata = json.dumps({"info": {"features": features}})
    table = table.replace_schema_metadata({"huggingface": metadata})
    operation = await client.build("faces", put_table(client.store, "p.parquet", table))
    assert len(await drawn(client, "faces", filters=named("dog"))) == 2
    assert len(await drawn(client, "faces", filters=named("cat"))) == 1
    assert [(one.reason, one.file_count) for one in index_of(operation).left_out] == [
        ("BAD_LABEL", 1)
    ]


@pytest.mark.parametrize("labels", [[True, False], [["dog"], ["cat"]], [0.5, 1.5]])
async def test_labels_that_name_no_class_are_counted_and_their_images_kept(
    client: Client, photographs: list[bytes], labels
):
    columns = {"image": [{"bytes": data} for data in photographs[:2]], "label": labels}
    operation = await client.build("odd", put_table(client.store, "p.parquet", columns))
    index = index_of(operation)
    assert index.image_count == 2
    assert [(one.reason, one.file_count) for one in index.left_out] == [("BAD_LABEL", 2)]
    assert "p.parquet, row 0: the label" in index.left_out[0].example
    assert len(await drawn(client, "odd", filters=numbered(-1))) == 2
