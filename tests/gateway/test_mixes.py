"""Several methods in one augmentation: each makes its share as it would alone, and none is lost."""

import json
from collections import Counter

import grpc
import pytest
from variegate.gateway.v1 import gateway_pb2 as pb

from servicekit.errors import Exhausted
from servicekit.statuses import from_rpc_error
from servicekit.storage import to_key
from tests.gateway.doubles import Trouble
from tests.gateway.full_store import FullStore
from tests.gateway.pictures import write_pool
from tests.gateway.studying import study_of
from tests.gateway.system import open_system, rows_of

MIX = "mvc:0.5,captions:0.3,boomerang:0.2"


def facts(row):
    """What of a row says which image it is, and how it was made."""
    return row["item_id"], row["sha256"], json.loads(row["lineage"])


def by_method(rows):
    return Counter((row["class_name"], row["method"]) for row in rows)


async def test_each_method_makes_its_share_of_every_class_as_it_would_alone(folders):
    root, train, _ = folders
    async with open_system(root / "state", root) as system:
        await system.import_folder(train)
        made = await system.augment("mix", method=MIX, images_per_class=7, seed=3)
        count = system.trouble.made
        rows = rows_of(system.store, made.result.manifest_uri)
        alone = []
        for method, wanted in (("mvc", 4), ("captions", 2), ("boomerang", 1)):
            one = await system.augment(method, method=method, images_per_class=wanted, seed=3)
            alone += rows_of(system.store, one.result.manifest_uri)
        assert system.trouble.made == count, "an image was made twice"
    assert made.method == MIX and made.result.accepted_count == 14
    # 3.5, 2.1 and 1.4 of 7: the largest remainder gets the one that is left.
    of_class = {"mvc": 4, "captions": 2, "boomerang": 1}
    assert by_method(rows) == {(c, m): n for c in ("cat", "dog") for m, n in of_class.items()}
    assert sorted(map(str, map(facts, rows))) == sorted(map(str, map(facts, alone)))
    assert all(json.loads(row["lineage"])["method"] == row["method"] for row in rows)
    assert [row["method"] for row in rows[:7]] == [
        "mvc", "captions", "mvc", "boomerang", "mvc", "captions", "mvc",
    ]  # fmt: skip


async def test_a_preview_of_a_mix_is_the_first_images_of_the_run(folders):
    root, train, _ = folders
    async with open_system(root / "state", root) as system:
        await system.import_folder(train)
        few = await system.augment("few", method=MIX, images_per_class=7, preview_count=3)
        every = await system.augment("every", method=MIX, images_per_class=7)
        first, rows = (rows_of(system.store, one.result.manifest_uri) for one in (few, every))
        assert system.trouble.made == 14
    assert not few.result.shortfalls
    assert [row["item_id"] for row in first] == [
        row["item_id"] for name in ("cat", "dog") for row in _of(rows, name)[:3]
    ]


def _of(rows, name):
    return [row for row in rows if row["class_name"] == name]


async def test_a_mix_with_a_pool_goes_on_where_the_store_was_full(folders):
    """The store is full in every method in turn: what was made is not made again."""
    root, train, _ = folders
    pool = f"file://{write_pool(root / 'pool.parquet')}"
    words = "/0/0/shards/", "/1/1/hits/1", "/2/0/shards/", "manifest.parquet"
    mix = {"method": "mvc:0.4,retrieval:0.2,simple:0.4", "images_per_class": 10, "pool_uri": pool}
    done = []
    for full in ((), words):
        state, trouble = root / f"full {len(full)}", Trouble(unsafe_share=0.1)
        async with open_system(state, root, trouble=trouble, wrap=FullStore) as system:
            await system.import_folder(train)
            system.store.error = Exhausted("no space left")
            for word in (*full, ""):
                system.store.word = word
                made = await system.augment(**mix, check_safety=True)
                assert not word or "no space left" in made.error.message
            uris = made.result.manifest_uri, made.result.rejected_uri
            done.append([system.store.get(to_key(uri)) for uri in uris])
            rows = [row for uri in uris for row in rows_of(system.store, uri)]
            assert not list(system.store.list("work/")), "what is done with stays"
        assert trouble.made == sum(row["method"] != "retrieval" for row in rows)
        assert len({row["item_id"] for row in rows}) == len(rows)
    assert done[0] == done[1]
    assert [(one.class_name, one.method) for one in made.result.prompts] == [
        (c, m) for m in ("retrieval", "simple") for c in ("cat", "dog")
    ]
    accepted = by_method(rows_of(system.store, uris[0]))
    own = {"mvc": 4, "retrieval": 2, "simple": 4}
    assert accepted == {(c, m): n for c in ("cat", "dog") for m, n in own.items()}


@pytest.mark.parametrize("first", ["simple", "retrieval"])
async def test_no_method_repeats_the_picture_of_another(folders, first):
    root, train, _ = folders
    pool = f"file://{write_pool(root / 'pool.parquet')}"
    trouble = Trouble(same_pixels=True)
    async with open_system(root / "state", root, trouble=trouble, wrap=FullStore) as system:
        await system.import_folder(train)
        wanted = {"method": f"{first}:0.5,mvc:0.5", "images_per_class": 2, "pool_uri": pool}
        # Once the first has ended it is not gone through again.
        system.store.word, system.store.error = "/1/0/", Exhausted("no space left")
        assert "no space" in (await system.augment(**wanted)).error.message
        system.store.word = ""
        made = await system.augment(**wanted)
        rows = rows_of(system.store, made.result.manifest_uri)
    if first == "simple":
        assert [row["method"] for row in rows] == ["simple"], "all are one picture"
        short = {one.class_name: one for one in made.result.shortfalls}
        assert (short["cat"].wanted_count, short["cat"].made_count) == (2, 1)
        assert (short["dog"].wanted_count, short["dog"].made_count) == (2, 0)
        assert "simple: 0 of 1" in short["dog"].reason and "mvc: 0 of 1" in short["dog"].reason
    else:
        assert by_method(rows) == {("cat", first): 1, ("dog", first): 1, ("cat", "mvc"): 1}


async def test_what_one_method_of_a_mix_cannot_honour_is_refused(folders):
    root, train, _ = folders
    cases = [
        ({"guidance_scale": 5.0}, "guidance_scale", "boomerang denoises without a prompt"),
        ({"negative_prompt": "blur"}, "negative_prompt", "boomerang denoises without guidance"),
        ({"method": "mvc:0.5,retrieval:0.5"}, "pool_uri", "retrieval searches a pool"),
        ({"parameters": {"epochs": "2"}}, "parameters.epochs", "no parameter 'epochs'"),
        ({"method": "mvc:0.5,simple:0.4"}, "method", "add up to 0.9"),
    ]
    async with open_system(root / "state", root) as system:
        await system.import_folder(train)
        for fields, field, words in cases:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await system.start(**{"method": MIX, **fields})
            error = from_rpc_error(caught.value)
            assert error.code.name == "INVALID_ARGUMENT" and words in error.message
            assert error.field == f"augmentation.{field}"


async def test_the_plan_of_a_mix_says_what_each_method_takes(folders):
    root, train, _ = folders
    wanted = pb.Augmentation(method=MIX, images_per_class=7, class_counts={"dog": 1})
    request = pb.PlanAugmentationRequest(parent="datasets/pets", augmentation=wanted)
    async with open_system(root / "state", root) as system:
        await system.import_folder(train)
        plan = await system.stub.PlanAugmentation(request, timeout=10)
        await system.augment(method=MIX, images_per_class=7, class_counts={"dog": 1})
        after = await system.stub.PlanAugmentation(request, timeout=10)
    assert [(one.method, one.image_count, one.model) for one in plan.methods] == [
        ("mvc", 5, "pix2pix"),
        ("captions", 2, "text"),
        ("boomerang", 1, "text"),
    ]
    assert (plan.image_count, plan.model, plan.images_per_second) == (8, "", 0)
    assert plan.methods[0].share == 0.5
    assert [one.measured_count for one in after.methods] == [5, 2, 1]
    assert after.images_per_second > 0


async def test_a_mix_is_a_row_of_a_study_and_a_smaller_number_has_its_shares(folders):
    root, train, test = folders
    arms = ({"method": MIX}, {"method": MIX, "images_per_class": 2})
    async with open_system(root / "state", root) as system:
        await system.import_folder(train, test)
        request = study_of(None, arms)
        request.study.images_per_class = 7
        study = await system.finish(await system.stub.CreateStudy(request, timeout=10))
        [run] = [one for one in system.store.list("studies/s1/first-2-") if "-mvc-" in one][:1]
        first = rows_of(system.store, f"store:{run}")
    rows = [row for row in study.result.rows if row.method == MIX]
    assert [row.added_image_count for row in rows] == [14, 4]
    assert by_method(first) == {(c, m): 1 for c in ("cat", "dog") for m in ("mvc", "captions")}
