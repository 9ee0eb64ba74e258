"""Searches that drop copies of protected images, repeats and unsafe images, and look further."""

import io

import grpc
import pytest
from PIL import Image, ImageOps
from variegate.retriever.v1 import retriever_pb2 as pb

from imaging.encode import encode_png
from servicekit.statuses import from_rpc_error
from tests.retriever.conftest import Client, put_image, put_pool
from tests.retriever.test_screening import put_manifest

QUERY = pb.Query(text="a photo of a dog")


def changed(data: bytes) -> bytes:
    """The mirror image, brighter, as another file."""
    with Image.open(io.BytesIO(data)) as image:
        pixels = ImageOps.mirror(image.convert("RGB")).point(lambda value: min(255, value + 12))
    return encode_png(pixels)


def counts(found: pb.HitList) -> dict[tuple[str, str], int]:
    return {(drop.reason, drop.split): drop.count for drop in found.drops}


async def test_copies_of_the_dataset_are_dropped_and_counted_by_split(
    client: Client, photographs: list[bytes]
):
    protected = put_manifest(client.store, photographs[:10])  # 0-4 train, 5-9 test
    copies = [photographs[0], changed(photographs[1]), photographs[6], changed(photographs[7])]
    await client.build("web", put_pool(client.store, [*copies, *photographs[20:50]]))
    policy = pb.DropPolicy(protected_manifest_uri=protected)
    found = await client.find("web", 34, QUERY, drop=policy)
    assert len(found.hits) == 30
    assert not {f"photograph {row}" for row in range(4)} & {hit.caption for hit in found.hits}
    assert counts(found) == {
        ("EXACT_DUPLICATE", "train"): 1,
        ("NEAR_DUPLICATE", "train"): 1,
        ("EXACT_DUPLICATE", "test"): 1,
        ("NEAR_DUPLICATE", "test"): 1,
    }
    assert found.searched_count == 34
    assert len((await client.find("web", 34, QUERY)).hits) == 34


async def test_repeats_within_a_result_are_dropped_and_the_nearest_stays(
    client: Client, photographs: list[bytes]
):
    files = [*photographs[:20], *photographs[:5], *map(changed, photographs[5:9])]
    await client.build("web", put_pool(client.store, files))
    found = await client.find("web", 29, QUERY, drop=pb.DropPolicy(repeats=True))
    assert len(found.hits) == 20 and counts(found) == {("REPEATED", ""): 9}
    everything = await client.find("web", 29, QUERY)
    assert everything.hits[0] == found.hits[0] and not everything.drops


async def test_a_search_looks_further_until_enough_is_left(
    client: Client, photographs: list[bytes]
):
    protected = put_manifest(client.store, photographs[:40])
    await client.build("web", put_pool(client.store, photographs[:60]))
    policy = pb.DropPolicy(protected_manifest_uri=protected)
    found = await client.find("web", 10, QUERY, drop=policy)
    assert len(found.hits) == 10
    assert found.searched_count == 10 + sum(counts(found).values()) > 14
    # Six times 1.4 is as far as it goes: here all of those are copies or hits.
    few = await client.find("web", 1, QUERY, drop=policy)
    assert few.searched_count <= 9


async def test_what_was_looked_at_in_vain_is_said(client: Client, photographs: list[bytes]):
    protected = put_manifest(client.store, photographs[:60])
    await client.build("web", put_pool(client.store, photographs[:60]))
    policy = pb.DropPolicy(protected_manifest_uri=protected)
    found = await client.find("web", 4, QUERY, drop=policy)
    assert not found.hits and found.searched_count == 34  # 4 x 1.4 x 6, rounded up
    assert sum(counts(found).values()) == 34


async def test_unsafe_and_lost_images_are_dropped(client: Client, photographs: list[bytes]):
    await client.build("web", put_pool(client.store, photographs[:12]))
    scored = await client.find("web", 12, QUERY, drop=pb.DropPolicy(max_unsafe_score=1.0))
    assert len(scored.hits) == 12
    verdicts = await client.screen([hit.image_uri for hit in scored.hits], max_unsafe_score=1.0)
    scores = sorted(verdict.unsafe_score for verdict in verdicts)
    client.store.delete(scored.hits[0].image_uri.removeprefix("store:"))
    cut = (scores[5] + scores[6]) / 2
    found = await client.find("web", 12, QUERY, drop=pb.DropPolicy(max_unsafe_score=cut))
    lost_was_safe = verdicts[0].unsafe_score < cut
    assert len(found.hits) == 6 - lost_was_safe
    assert counts(found) == {("UNSAFE", ""): 5 + lost_was_safe, ("UNREADABLE", ""): 1}


async def test_filters_and_drops_hold_together(client: Client, photographs: list[bytes]):
    protected = put_manifest(client.store, photographs[:4])
    await client.build("web", put_pool(client.store, photographs[:40]))
    few = pb.Filter(column="label", between=pb.NumberRange(least=0, most=1))
    policy = pb.DropPolicy(protected_manifest_uri=protected, repeats=True)
    found = await client.find("web", 20, QUERY, filters=[few], drop=policy)
    assert sorted(hit.caption for hit in found.hits) == sorted(
        f"photograph {row}" for row in (10, 11, 20, 21, 30, 31)
    )
    assert sum(counts(found).values()) == 2


async def test_a_manifest_that_is_none_is_refused(client: Client, photographs: list[bytes]):
    await client.build("web", put_pool(client.store, photographs[:4]))
    policy = pb.DropPolicy(protected_manifest_uri=put_image(client.store, photographs[0]))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.find("web", 1, QUERY, drop=policy)
    error = from_rpc_error(caught.value)
    assert (error.reason, error.field) == ("BAD_MANIFEST", "protected_manifest_uri")
