"""Images that a person rejected are replaced like those that filters reject."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from variegate.gateway.v1 import gateway_pb2 as pb

from servicekit.storage import to_uri
from tests.gateway.doubles import Trouble
from tests.gateway.pictures import write_pool
from tests.gateway.system import open_system, rows_of


def put(store, ids, key="rejections/some.parquet"):
    buffer = io.BytesIO()
    pq.write_table(pa.table({"item_id": pa.array(ids, pa.string())}), buffer)
    store.put(key, buffer.getvalue(), overwrite=True)
    return to_uri(key)


def ids_of(system, augmentation):
    return [row["item_id"] for row in rows_of(system.store, augmentation.result.manifest_uri)]


async def test_what_a_person_rejected_is_replaced_and_nothing_else_changes(folders):
    root, train, _ = folders
    async with open_system(root / "state", root) as system:
        await system.import_folder(train)
        before = await system.augment("a1", images_per_class=5)
        made = system.trouble.made
        rows = {row["item_id"]: row for row in rows_of(system.store, before.result.manifest_uri)}
        away = [*rows][1:9:3]
        after = await system.augment(
            "a2", images_per_class=5, rejections_uri=put(system.store, away)
        )
        again = {row["item_id"]: row for row in rows_of(system.store, after.result.manifest_uri)}
        rejected = rows_of(system.store, after.result.rejected_uri)
        assert system.trouble.made - made == len(away), "only the replacements are made"
    assert after.result.accepted_count == 10 and not after.result.shortfalls
    assert {*rows} - {*again} == {*away}
    assert {again[one]["attempt"] for one in {*again} - {*rows}} == {1}
    assert all(again[one] == rows[one] for one in {*rows} & {*again})
    assert {(row["item_id"], row["reason"]) for row in rejected} == {
        (one, "BY_PERSON") for one in away
    }


async def test_a_person_may_reject_more_often_than_filters_may(folders):
    root, train, _ = folders
    async with open_system(root / "state", root) as system:
        await system.import_folder(train)
        away = []
        for number in range(9):
            uri = put(system.store, away, f"rejections/{number}.parquet")
            made = await system.augment(f"a{number}", images_per_class=1, rejections_uri=uri)
            assert made.result.accepted_count == 2, number
            away.append(ids_of(system, made)[0])
    assert len({*away}) == 9


async def test_filters_still_end_after_their_own_attempts(folders):
    root, train, _ = folders
    async with open_system(root / "state", root, trouble=Trouble(same_pixels=True)) as system:
        await system.import_folder(train)
        before = await system.augment("a1", images_per_class=1)
        uri = put(system.store, ids_of(system, before))
        after = await system.augment("a2", images_per_class=1, rejections_uri=uri)
    assert after.result.accepted_count == 1
    assert after.result.shortfalls


async def test_a_rejected_image_of_the_pool_gives_its_place_to_the_next(folders):
    root, train, _ = folders
    pool = f"file://{write_pool(root / 'pool.parquet')}"
    async with open_system(root / "state", root) as system:
        await system.import_folder(train)
        asked = {"method": "retrieval", "pool_uri": pool}
        before = ids_of(system, await system.augment("a1", **asked))
        uri = put(system.store, before[:2])
        after = ids_of(system, await system.augment("a2", rejections_uri=uri, **asked))
    # A search that goes further may find that an image is another class's, so not all others stay.
    assert len(after) == 6 and not {*before[:2]} & {*after}


@pytest.mark.parametrize(
    ("uri", "reason"),
    [("store:rejections/none.parquet", "REJECTIONS_MISSING"), ("store:odd", "BAD_REJECTIONS")],
)
async def test_rejections_that_cannot_be_read_are_refused_before_anything_is_made(
    folders, uri, reason
):
    import grpc

    from servicekit.statuses import from_rpc_error

    root, train, _ = folders
    async with open_system(root / "state", root) as system:
        await system.import_folder(train)
        system.store.put("odd", b"no parquet")
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await system.start(rejections_uri=uri)
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        error = from_rpc_error(raised.value)
        assert error.reason == reason and error.field == "augmentation.rejections_uri"
        listed = await system.stub.ListAugmentations(
            pb.ListAugmentationsRequest(parent="datasets/pets"), timeout=10
        )
    assert not listed.augmentations
