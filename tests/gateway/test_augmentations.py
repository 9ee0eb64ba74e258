"""Augmentations through the gateway's real server, in front of small deterministic services."""

import json
import time
from collections import Counter

import grpc
import pytest
from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.methods.composition import methods_in
from gateway.methods.registry import all_methods
from servicekit.statuses import from_rpc_error
from servicekit.storage import to_key
from tests.gateway.doubles import Trouble
from tests.gateway.pictures import picture, write_pool
from tests.gateway.system import open_system, rows_of


@pytest.mark.parametrize(
    "method", [method.id for method in all_methods().values() if not method.needs.pool]
)
async def test_every_method_makes_the_wanted_images_with_their_lineage(folders, method):
    root, train, test = folders
    async with open_system(root / "state", root) as system:
        dataset = await system.import_folder(train, test)
        made = await system.augment(method=method, images_per_class=5, seed=3)
        rows = rows_of(system.store, made.result.manifest_uri)
        items = {row["item_id"]: row for row in rows_of(system.store, dataset.manifest_uri)}
    assert made.result.accepted_count == 10 and not made.result.shortfalls
    assert [row["class_name"] for row in rows] == ["cat"] * 5 + ["dog"] * 5
    assert {row["method"] for row in rows} == {one.id for one in methods_in(method)}
    for row in rows:
        lineage = json.loads(row["lineage"])
        assert lineage["method"] == row["method"]
        assert lineage["seed"] == row["seed"] and row["source"] == "generated"
        assert lineage["scores"]["clip_score"] == row["clip_score"]
        for parent in row["parents"]:
            assert items[parent]["split"] == "train"
            assert items[parent]["class_name"] == row["class_name"]
            assert items[parent]["sha256"] in lineage["parents_sha256"]


async def test_the_same_request_answers_the_same_operation_and_makes_nothing_twice(folders):
    root, train, _ = folders
    async with open_system(root / "state", root) as system:
        await system.import_folder(train)
        first = await system.augment()
        made = system.trouble.made
        again = await system.start()
        assert again.done
        assert (await system.finish(again)) == first
        assert system.trouble.made == made


async def test_captions_are_computed_once_per_image(folders):
    root, train, _ = folders
    async with open_system(root / "state", root) as system:
        await system.import_folder(train)
        await system.augment("a1", seed=1)
        assert system.trouble.captioned == 6
        await system.augment("a2", seed=2)
        assert system.trouble.captioned == 6


async def test_the_manifest_does_not_depend_on_shards_or_calls_in_flight(folders):
    root, train, _ = folders
    files = []
    for number, size in enumerate((1, 4, 64)):
        state = root / f"state-{number}"
        async with open_system(state, root, shard_size=size) as system:
            await system.import_folder(train)
            made = await system.augment(images_per_class=9)
            files.append(system.store.get(to_key(made.result.manifest_uri)))
    assert files[0] == files[1] == files[2]


class SlowToTell:
    """A store whose answer about a finished resource is old when it arrives."""

    def __init__(self, store):
        self._store = store

    def __getattr__(self, name):
        return getattr(self._store, name)

    def exists(self, key):
        found = self._store.exists(key)
        if key.endswith("resource.json"):
            time.sleep(0.3)
        return found


async def test_work_that_ends_while_it_is_asked_about_is_not_called_lost(folders):
    root, train, _ = folders
    async with open_system(root / "state", root, wrap=SlowToTell) as system:
        await system.import_folder(train)
        made = await system.augment()
    assert made.result.accepted_count == 6


async def test_calls_are_full(folders):
    root, train, _ = folders
    trouble = Trouble(pause=0.02)
    settings = {"shard_size": 8}
    async with open_system(root / "state", root, trouble=trouble, **settings) as system:
        await system.import_folder(train)
        await system.augment(images_per_class=40)
    assert {len(call) for call in trouble.calls} == {8}
    assert len(trouble.calls) == 10


@pytest.mark.parametrize("method", ["mvc", "cond_embed_cutmix_dropout"])
async def test_a_preview_is_the_first_images_of_the_run_which_makes_none_of_them_again(
    folders, method
):
    state, train, _ = folders
    async with open_system(state, train) as system:
        await system.import_folder(train)
        few = await system.augment("few", method=method, images_per_class=6, preview_count=2)
        made = system.trouble.made
        every = await system.augment("every", method=method, images_per_class=6)
        first, rest = (
            {
                row["item_id"]: row["sha256"]
                for row in rows_of(system.store, one.result.manifest_uri)
            }
            for one in (few, every)
        )
    assert few.result.accepted_count == made
    assert not few.result.shortfalls
    assert first.items() <= rest.items()
    assert system.trouble.made == every.result.accepted_count


async def test_a_plan_says_what_an_augmentation_takes_by_the_pace_of_earlier_ones(folders):
    state, train, _ = folders
    wanted = pb.Augmentation(method="mvc", images_per_class=40)
    request = pb.PlanAugmentationRequest(parent="datasets/pets", augmentation=wanted)
    async with open_system(state, train) as system:
        dataset = await system.import_folder(train)
        before = await system.stub.PlanAugmentation(request, timeout=10)
        await system.augment("few", images_per_class=10)
        after = await system.stub.PlanAugmentation(request, timeout=10)
        # What was there already is not the pace of making.
        await system.augment("again", images_per_class=10)
        same = await system.stub.PlanAugmentation(request, timeout=10)
    count = 40 * len(dataset.classes)
    assert (before.image_count, before.images_per_second, before.measured_count) == (count, 0, 0)
    assert before.model == "pix2pix" and before.step_count == 3
    assert after.measured_count == 10 * len(dataset.classes)
    assert after.images_per_second > 0
    assert same.measured_count == after.measured_count


async def test_a_method_that_made_nothing_yet_is_planned_by_the_pace_of_its_model(folders):
    state, train, _ = folders

    def wanted(method, **fields):
        augmentation = pb.Augmentation(method=method, images_per_class=5, **fields)
        return pb.PlanAugmentationRequest(parent="datasets/pets", augmentation=augmentation)

    async with open_system(state, train) as system:
        await system.import_folder(train)
        await system.augment(method="captions", images_per_class=3)
        plan = system.stub.PlanAugmentation
        own = await plan(wanted("captions"), timeout=10)
        other = await plan(wanted("simple"), timeout=10)
        mixed = await plan(wanted("captions:0.5,simple:0.5"), timeout=10)
        model = await plan(wanted("mvc"), timeout=10)
        steps = await plan(wanted("simple", steps=2), timeout=10)
        unguided = await plan(wanted("boomerang"), timeout=10)
    assert own.measured_count == other.measured_count > 0
    assert other.images_per_second == own.images_per_second
    assert [one.measured_on_other_methods for one in (own, other, mixed)] == [False, True, True]
    assert [one.measured_on_other_methods for one in mixed.methods] == [False, True]
    for unknown in (model, steps, unguided):
        assert (unknown.images_per_second, unknown.measured_on_other_methods) == (0, False)


@pytest.mark.parametrize("method", ["contextual", "retrieval"])
async def test_classes_are_filled_up_and_have_numbers_of_their_own(folders, method):
    root, train, _ = folders
    for number in (3, 4):
        (train / "dog" / f"{number}.png").write_bytes(picture(("more", number)))
    pool = f"file://{write_pool(root / 'pool.parquet')}" if method == "retrieval" else ""
    async with open_system(root / "state", root) as system:
        await system.import_folder(train)
        wanted = {"method": method, "pool_uri": pool}
        fields = {**wanted, "images_per_class": 6, "fill_up": True}
        request = pb.PlanAugmentationRequest(
            parent="datasets/pets", augmentation=pb.Augmentation(**fields)
        )
        plan = await system.stub.PlanAugmentation(request, timeout=10)
        filled = await system.augment("filled", **fields)
        own = await system.augment("own", **wanted, class_counts={"cat": 0, "dog": 5})
        counts = [
            Counter(row["class_name"] for row in rows_of(system.store, one.result.manifest_uri))
            for one in (filled, own)
        ]
    assert counts == [{"cat": 3, "dog": 1}, {"dog": 5}]
    assert plan.image_count == 4
    assert not filled.result.shortfalls and not own.result.shortfalls


async def test_counts_of_nothing_that_can_be_made_are_refused(folders):
    root, train, _ = folders
    cases = [
        ({"class_counts": {"cow": 5}}, "class_counts", "'cow', which datasets/pets has not"),
        (
            {"class_counts": {"dog": 5}, "class_names": ["cat"]},
            "class_counts",
            "'dog', which class_names has not",
        ),
        ({"class_counts": {"cat": 0, "dog": 0}}, "class_counts", "0 images of every class"),
        ({"images_per_class": 3, "fill_up": True}, "images_per_class", "nothing to fill up"),
        ({"class_counts": {"cat": -1}}, "class_counts", ""),
    ]
    async with open_system(root / "state", root) as system:
        await system.import_folder(train)
        for fields, field, words in cases:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await system.start(**fields)
            error = from_rpc_error(caught.value)
            assert error.code.name == "INVALID_ARGUMENT" and words in error.message
            assert error.field.startswith(f"augmentation.{field}")
